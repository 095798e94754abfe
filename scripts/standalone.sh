#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck disable=SC2317 # what is behind the last line is no shell
#
# vmxcheck: the image @NAME@, the runner that judges it and what is known of targets. Made by `make standalone`.

usage()
{
	cat <<'END'
usage: @NAME@.run [OPTION]... [PATTERN]...
       @NAME@.run COMMAND ...
       @NAME@.run --list | --extract FOLDER | --help-runner

Boots the image @NAME@ and judges it as run_tests.sh of vmxcheck does: the same options and commands, verdicts and exit status.
Results go to ./results unless --results says where. It needs Python 3.9 or newer, and what it is to be booted on:

  --backend NAME     qemu-tcg, qemu-kvm or bochs (default: the best that is here)
  --command COMMAND  anything else, such as 'my-vmm --kernel {elf64} --append {words}'
  --list             the tests in it, id TAB title
  --extract FOLDER   only unpack it: the image is in build/x86, and the log of a boot by hand is judged by `@NAME@.run import LOG`
  --help-runner      all options of the runner

QEMU=PATH and BOCHS=PATH name the emulators, PYTHON=PATH the Python.

Exit status: 0 all green; 1 a failure, or a report that is not whole; 2 wrong usage or no emulator; 3 nothing was tested.
END
}

name='@NAME@' lines='@LINES@'

fail()
{
	printf '%s.run: %s\n' "$name" "$1" >&2
	exit 2
}

self=$0 extract='' python=${PYTHON:-python3}
case ${1:-} in
--list) sed -n '/^__TESTS__$/,/^__END__$/{/^__/d;p;}' "$self" && exit 0 ;;
--help | -h) usage && exit 0 ;;
--help-runner) shift && set -- --help "$@" ;;
--extract)
	[ $# -eq 2 ] || fail '--extract needs a folder, and nothing behind it'
	extract=$2
	mkdir -p "$extract" || fail "cannot unpack into $extract" ;;
esac

if [ -z "$extract" ]; then
	"$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null ||
		fail "$python is not here or older than 3.9: name another with PYTHON, or boot it by hand (--extract) and judge its log elsewhere"
fi
folder=${extract:-$(mktemp -d "${TMPDIR:-/tmp}/vmxcheck.XXXXXX")} || fail 'no temporary folder can be made: set TMPDIR'
clean()
{
	[ -n "$extract" ] || rm -rf "$folder"
}
trap clean EXIT
tail -n "+$((lines + 1))" "$self" | gzip -dc 2>/dev/null | tar -xf - -C "$folder" 2>/dev/null ||
	fail "cannot unpack into $folder: no space, or the file is not whole"
[ -z "$extract" ] || exit 0

# The runner hears the signals itself, ends what it started and says what it has.
trap : INT TERM HUP
VMXCHECK_PROGRAM=$self "$python" -S "$folder/scripts/vmxcheck" "$@" &
pid=$!
trap 'kill -INT "$pid" 2>/dev/null' INT
trap 'kill -TERM "$pid" 2>/dev/null' TERM HUP
while :; do
	wait "$pid"
	status=$?
	kill -0 "$pid" 2>/dev/null || break
done
exit "$status"
