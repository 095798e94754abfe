#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck disable=SC2317 # what is behind the last line is no shell
#
# vmxcheck: the image @NAME@, with all that it needs but an emulator. Made by `make standalone`.

usage()
{
	cat <<'END'
usage: @NAME@.run [OPTION]... [WORD]...

Boots the image @NAME@ on QEMU or Bochs and prints its TAP.

  --qemu, --bochs    on this one (default: the first that is here and can run it)
  --cpu MODEL        processor model of the emulator
  --kvm              QEMU with KVM instead of QEMU's own processor
  --timeout SECONDS  end it after so long [@TIMEOUT@]
  --list             the tests in it, id TAB title
  --extract FOLDER   only unpack @NAME@.elf and @NAME@.rom
  --help             print this

A WORD goes to the image: run=PATTERN[,...] and skip=PATTERN[,...] choose tests, order=random seed=N shuffles them.
QEMU=PATH and BOCHS=PATH name the emulators.

Exit status: 0 all green; 1 a failure, or the report is not whole; 2 wrong usage or no emulator; 3 all was skipped.
END
}

name='@NAME@' needs='@NEEDS@' smp='@SMP@' memory='@MEMORY@' words='@WORDS@' seconds='@TIMEOUT@'
offset='@OFFSET@' room='@ROOM@' lines='@LINES@'

fail()
{
	printf '%s.run: %s\n' "$name" "$1" >&2
	exit 2
}

self=$0 way='' cpu='' accel=tcg extract=''
while [ $# -gt 0 ]; do
	case $1 in
	--qemu | --bochs) way=${1#--} ;;
	--kvm) accel=kvm way=qemu ;;
	--cpu | --timeout | --extract)
		[ $# -ge 2 ] || fail "$1 needs a value"
		case $1 in --cpu) cpu=$2 ;; --timeout) seconds=$2 ;; *) extract=$2 ;; esac
		shift ;;
	--list) sed -n '/^__TESTS__$/,/^__END__$/{/^__/d;p;}' "$self" && exit 0 ;;
	--help | -h) usage && exit 0 ;;
	-*) fail "unknown option $1: see --help" ;;
	*) words="${words:+$words }$1" ;;
	esac
	shift
done
case $seconds in '' | *[!0-9]*) fail "--timeout $seconds: a whole number of seconds is needed" ;; esac

here()  # PROGRAM
{
	command -v "$1" >/dev/null 2>&1
}
qemu=${QEMU:-qemu-system-x86_64} bochs=${BOCHS:-bochs}
if [ -z "$way$extract" ]; then
	if [ "$needs" != vmx ] && here "$qemu"; then
		way=qemu
	elif here "$bochs"; then
		way=bochs
	elif [ "$needs" = vmx ]; then
		fail "no bochs (Debian package bochs); QEMU alone has no VMX, but for --kvm with nested VMX"
	else
		fail "neither qemu-system-x86_64 nor bochs is here (Debian packages qemu-system-x86, bochs)"
	fi
fi
if [ -n "$way" ]; then
	if [ "$way" = qemu ]; then program=$qemu; else program=$bochs; fi
	here "$program" || fail "$program cannot be found"
	[ "$way$accel$needs" != qemutcgvmx ] || fail 'QEMU without KVM has no VMX, which this image needs'
fi

# An emulator's machine may be stopped and reset at no cost; QEMU ends when a processor shuts down.
given=$words words=machine=emulated
[ "$way" != qemu ] || words="$words shutdown=ends"
words="$words${given:+ $given}"
[ "${#words}" -lt "$room" ] || fail "the words are too long: an image takes $room bytes"

folder=${extract:-$(mktemp -d "${TMPDIR:-/tmp}/vmxcheck.XXXXXX")} || fail 'no temporary folder can be made: set TMPDIR'
pid=''
clean()
{
	[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null
	[ -n "$extract" ] || rm -rf "$folder"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkdir -p "$folder" || fail "cannot unpack into $folder"
tail -n "+$((lines + 1))" "$self" | gzip -dc | tar -xf - -C "$folder" || fail "cannot unpack into $folder"
[ -z "$extract" ] || exit 0

if [ "$way" = qemu ]; then
	[ -n "$cpu" ] || { [ $accel = kvm ] && cpu=host || cpu=max; }
	"$program" -machine "pc,accel=$accel" -cpu "$cpu" -smp "$smp" -m "$memory" -display none -nodefaults -no-reboot \
		-serial "file:$folder/serial" -device isa-debug-exit,iobase=0xf4,iosize=4 \
		-kernel "$folder/$name.elf" -append "$words" </dev/null >"$folder/said" 2>&1 &
else
	# The command line has its place in the ROM; the smallest VGA BIOS that Bochs takes does nothing.
	printf %s "$words" | dd of="$folder/$name.rom" bs=1 seek="$offset" conv=notrunc 2>/dev/null
	{ printf '\125\252\001\313' && dd if=/dev/zero bs=507 count=1 2>/dev/null && printf 5; } >"$folder/vga.rom"
	cat >"$folder/bochsrc" <<END
config_interface: textconfig
display_library: rfb, options="timeout=0"
sound: driver=dummy
cpu: model=${cpu:-tigerlake}, count=$smp, ips=4000000, reset_on_triple_fault=0, ignore_bad_msrs=0
memory: guest=$memory, host=$memory
romimage: file=$name.rom
vgaromimage: file=vga.rom
pci: enabled=0
ata0: enabled=0
com1: enabled=1, mode=file, dev=serial
port_e9_hack: enabled=1
panic: action=fatal
error: action=report
clock: sync=none, time0=utc
END
	echo c >"$folder/continue"
	debugger=''
	"$program" --help 2>&1 | grep -q '^ *-rc' && debugger='-rc continue'
	alone='' # its display listens on a port: in a network namespace of its own nobody sees that
	unshare -n true 2>/dev/null && alone='unshare -n'
	cd "$folder" || exit 2
	# shellcheck disable=SC2086 # words
	$alone "$program" -q -f bochsrc $debugger </dev/null >said 2>&1 &
fi
pid=$!
deadline=$(($(date +%s) + seconds))
while kill -0 "$pid" 2>/dev/null; do
	sleep 0.1 2>/dev/null || sleep 1 # fractions are not understood everywhere
	if [ "$(grep -c 'TAP version' "$folder/serial" 2>/dev/null)" -gt 1 ] 2>/dev/null; then
		kill -9 "$pid" 2>/dev/null
		echo "$name.run: the image started again from the beginning: killed" >&2
		break
	elif [ "$(date +%s)" -ge "$deadline" ]; then
		kill -9 "$pid" 2>/dev/null
		echo "$name.run: no end after $seconds s: killed" >&2
		break
	fi
done
wait "$pid" 2>/dev/null
pid=''

[ -s "$folder/serial" ] || {
	tail -n 3 "$folder/said" >&2
	echo "$name.run: the image said nothing" >&2
	exit 1
}
cat "$folder/serial"
# The same promise as the runner's: what is cut off, silent or out of order is never green.
tr -d '\r' <"$folder/serial" | awk -v name="$name" '
	/^TAP version 13/ { started++; next }
	!started { next }
	/^1\.\.[0-9]+/ { plans++; split($1, plan, /\.\./); planned = plan[2] + 0; next }
	/^Bail out!/ { bad = "it bailed out" }
	/^# end$/ { ended = 1 }
	/^(not )?ok / {
		count++
		number = $1 == "not" ? $3 : $2
		if (number != count) bad = "its tests are out of order"
		if ($1 == "not") failed++
		else if ($0 ~ /# SKIP/) skipped++
		else passed++
	}
	END {
		if (started != 1 || plans != 1 || !ended || count != planned) bad = bad ? bad : "its report is not whole"
		if (bad) print name ".run: " bad > "/dev/stderr"
		printf "%d passed, %d failed, %d skipped\n", passed, failed + (bad != ""), skipped > "/dev/stderr"
		exit bad || failed ? 1 : passed ? 0 : 3
	}'
exit $?
