# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2034,SC2154
#
# What configure looks for, sourced by it: reads $opt_cc, $opt_cross, $opt_python and the folder $tmp;
# detect sets the variables of config.mk, $packages (missing, Debian's names) and $lacking (what the
# build cannot do without), and leaves the report in $tmp/report.{build,run,check}.
#
# Tools are judged by what they do, never by their name or version: the compiler must make
# freestanding 64-bit code, the linker must link it, objcopy must wrap the result as ELF32.

PYTHON_NEEDED=3.9

### The report: lines by group, and what is missing

line()  # GROUP WHAT TEXT
{
	printf '  %-20s %s\n' "$2" "$3" >>"$tmp/report.$1"
}

# What lacks a package has the package "-".
missing()  # GROUP WHAT PACKAGE WHY
{
	if [ "$3" = - ]; then
		line "$1" "$2" "MISSING ($4)"
	else
		line "$1" "$2" "MISSING ($4): Debian package $3"
		case " $packages " in
		*" $3 "*) ;;
		*) packages="${packages:+$packages }$3" ;;
		esac
	fi
	case $1 in
	build) lacking="${lacking:+$lacking, }$2" ;;
	esac
}

# The first thing like a version that a tool says of itself, without the distribution's remark.
version_in()
{
	sed -n 's/([^)]*)//g; s/^[^.]*[^0-9.]\([0-9][0-9]*\.[0-9][0-9.]*\).*$/\1/p' | head -n 1
}

version_of()  # COMMAND...
{
	"$@" --version </dev/null 2>/dev/null | version_in
}

path_of()  # COMMAND
{
	command -v -- "$1" 2>/dev/null
}

path_folders()
{
	printf '%s\n' "$PATH" | tr : '\n'
}

# A tool that is there or not; its path is left in $path.
look_for()  # GROUP WHAT COMMAND PACKAGE
{
	if path=$(path_of "$3"); then
		line "$1" "$2" "$path $(version_of "$path")"
	else
		missing "$1" "$2" "$4" "no $3"
	fi
}

# A tool that not every release of Debian has: what it does is skipped where it cannot be had.
look_for_newer()  # GROUP WHAT COMMAND PACKAGE
{
	if path_of "$3" >/dev/null || apt-cache show "$4" >/dev/null 2>&1; then
		look_for "$@"
	else
		line "$1" "$2" "not in this release: what needs it is skipped"
	fi
}

look_for_file()  # GROUP WHAT FILE PACKAGE
{
	if [ -e "$3" ]; then
		line "$1" "$2" "$3"
	else
		missing "$1" "$2" "$4" "no $3"
	fi
}

### What a tool must do

cat >"$tmp/probe.c" <<'END'
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#if !defined(__x86_64__) || defined(__ILP32__) || !defined(__ELF__)
#error "not x86-64 ELF"
#endif
_Static_assert(sizeof(void *) == 8, "64-bit pointers");
__asm__(".section .boot, \"ax\"; .code16; hlt; .code32; hlt; .code64; hlt; .text");
void entry(uint64_t *descriptor);
void entry(uint64_t *descriptor)
{
	__asm__ volatile("vmxon %0; invept %0, %1; vmlaunch" : : "m"(*descriptor), "r"(1ull) : "cc", "memory");
}
END

cat >"$tmp/host.c" <<'END'
#include <stdio.h>
int main(void)
{
	return puts("host") < 0;
}
END

cat >"$tmp/static.c" <<'END'
#include <linux/kvm.h>
#include <pthread.h>
#include <stdio.h>
#ifndef __x86_64__
#error "not x86-64"
#endif
int main(void)
{
	return puts("static") < 0 || KVM_CAP_COALESCED_PIO < 0;
}
END

# Commands of several words ("ccache gcc") are split on purpose.
# shellcheck disable=SC2086
compiles_freestanding()  # COMMAND
{
	$1 -m64 -ffreestanding -fno-pic -mno-red-zone -mgeneral-regs-only -Wall -Wextra -Werror \
		-c "$tmp/probe.c" -o "$tmp/probe.o" </dev/null >"$tmp/log" 2>&1
}

# shellcheck disable=SC2086
compiles_for_host()  # COMMAND
{
	$1 "$tmp/host.c" -o "$tmp/host" </dev/null >"$tmp/log" 2>&1 && [ "$("$tmp/host" 2>/dev/null)" = host ]
}

# shellcheck disable=SC2086
compiles_static()  # COMMAND
{
	$1 -m64 -static -pthread "$tmp/static.c" -o "$tmp/static" </dev/null >"$tmp/log" 2>&1
}

# The version is compared in Python; the modules are missing where only python3-minimal is installed.
python_fits()  # COMMAND
{
	"$1" -c "import sys, json, subprocess, unittest
sys.exit(sys.version_info < tuple(int(n) for n in '$PYTHON_NEEDED'.split('.')))" </dev/null >/dev/null 2>&1
}

### Detection, one function a group

compiler_package()  # COMMAND
{
	case $(uname -m):${1%% *} in
	*:gcc | *:clang | *:gcc-[0-9]* | *:clang-[0-9]*) echo "${1%% *}" ;;
	x86_64:x86_64-linux-gnu-gcc) echo gcc ;;
	*:x86_64-linux-gnu-gcc) echo gcc-x86-64-linux-gnu ;;
	*) echo - ;;
	esac
}

binutils_package()
{
	case $opt_cross in
	'') echo binutils ;;
	x86_64-linux-gnu-) echo binutils-x86-64-linux-gnu ;;
	*) echo - ;;
	esac
}

found_compiler()  # GROUP WHAT COMMAND
{
	# shellcheck disable=SC2086
	line "$1" "$2" "$3 $(version_of $3)"
}

# Remark why the compiler does not do, or nothing if it does.
compiler_trouble()  # COMMAND
{
	if ! path_of "${1%% *}" >/dev/null; then
		echo "no ${1%% *}"
	elif ! compiles_freestanding "$1"; then
		echo "$1 does not make freestanding 64-bit x86 code: $(grep -m 1 -i error "$tmp/log" | sed 's/^.*error: //')"
	fi
}

detect_compilers()
{
	GCC_NAME=${opt_cross}gcc
	GCC=$GCC_NAME CLANG=clang CC=''
	gcc_trouble=$(compiler_trouble "$GCC")
	clang_trouble=$(compiler_trouble "$CLANG")
	[ -z "$gcc_trouble" ] || GCC=''
	[ -z "$clang_trouble" ] || CLANG=''

	wanted=${opt_cc:-$GCC_NAME}
	if [ -n "$opt_cc" ]; then
		cc_trouble=$(compiler_trouble "$opt_cc")
		[ -n "$cc_trouble" ] || CC=$opt_cc
	else
		cc_trouble=$gcc_trouble
		CC=$GCC
		# Whoever gave a prefix meant it.
		[ -n "$CC$opt_cross" ] || CC=$CLANG
	fi
	if [ -n "$CC" ]; then
		found_compiler build 'C compiler' "$CC"
	else
		missing build 'C compiler' "$(compiler_package "$wanted")" "$cc_trouble"
	fi

	# `make check` wants both families: now the one that CC is not of.
	# shellcheck disable=SC2086
	case "$wanted $(${CC:-:} --version </dev/null 2>&1 | head -n 1)" in
	*clang*) other=$GCC other_name=$GCC_NAME other_trouble=$gcc_trouble ;;
	*) other=$CLANG other_name=clang other_trouble=$clang_trouble ;;
	esac
	if [ -n "$other" ]; then
		found_compiler check 'second compiler' "$other"
	else
		missing check 'second compiler' "$(compiler_package "$other_name")" "$other_trouble"
	fi
}

# Each of them works on what the one before it made, so the first failure stops the trying.
detect_binutils()
{
	LD=${opt_cross}ld OBJCOPY=${opt_cross}objcopy NM=${opt_cross}nm
	package=$(binutils_package)
	[ -n "$CC" ] && compiles_freestanding "$CC" && chain=yes || chain=no
	try_tool "$LD" linker 'does not link elf_x86_64 as it must (binutils 2.39 does)' -m elf_x86_64 -nostdlib \
		-z noexecstack --no-warn-rwx-segments -e entry -o "$tmp/probe.elf" "$tmp/probe.o"
	try_tool "$OBJCOPY" objcopy 'does not make elf32-i386' -O elf32-i386 "$tmp/probe.elf" "$tmp/probe32.elf"
	try_tool "$NM" nm 'does not list symbols' "$tmp/probe.elf"
}

try_tool()  # COMMAND WHAT WHY ARGUMENTS...
{
	tool=$1 what=$2 why=$3
	shift 3
	if ! path_of "$tool" >/dev/null; then
		missing build "$what" "$package" "no $tool"
		chain=no
	elif [ "$chain" = no ]; then
		line build "$what" "$tool $(version_of "$tool") (not tried: what it needs is missing)"
	elif "$tool" "$@" </dev/null >"$tmp/log" 2>&1; then
		line build "$what" "$tool $(version_of "$tool")"
	else
		missing build "$what" "$package" "$tool $why"
		chain=no
	fi
}

detect_make()
{
	if make --version </dev/null 2>/dev/null | grep -q '^GNU Make'; then
		line build make "$(path_of make) $(version_of make)"
	else
		missing build make make 'no GNU make'
	fi
}

# Debian's own interpreter is the one that sees Debian's python3-* packages.
python_candidates()
{
	path_folders | grep -x /usr/bin | sed 's,$,/python3,'
	path_folders | sed 's,$,/python3,'
}

detect_python()
{
	PYTHON='' seen=''
	if [ -n "$opt_python" ]; then path_of "$opt_python"; else python_candidates; fi >"$tmp/pythons"
	while read -r candidate; do
		[ -x "$candidate" ] || continue
		case $candidate in
		/*) ;;
		*) candidate=$(cd -P -- "$(dirname -- "$candidate")" && pwd)/${candidate##*/} ;;
		esac
		if python_fits "$candidate"; then
			PYTHON=$candidate
			break
		fi
		seen=$candidate
	done <"$tmp/pythons"

	if [ -n "$PYTHON" ]; then
		line build Python "$PYTHON $(version_of "$PYTHON")"
	elif [ -n "$seen" ]; then
		[ -z "$opt_python" ] && package=python3 || package=-
		missing build Python "$package" "$seen $(version_of "$seen") is not a whole Python $PYTHON_NEEDED or newer"
	elif [ -n "$opt_python" ]; then
		missing build Python - "no $opt_python"
	else
		missing build Python python3 'no python3'
	fi
}

# What only the reports need. Debian's packages are seen by Debian's interpreter alone.
detect_python_modules()
{
	modules=''
	[ -z "$PYTHON" ] || modules=$("$PYTHON" -c 'from importlib.util import find_spec
print(*[name for name in ("jinja2", "junitparser", "shtab") if find_spec(name)])' </dev/null 2>/dev/null)
	SHTAB=''
	case " $modules " in
	*' shtab '*) SHTAB=yes ;;
	esac
	for module in jinja2:--html junitparser:--junit shtab:completions; do
		need="for ${module#*:} only"
		module=${module%%:*}
		case " $modules " in
		*" $module "*) line run "Python $module" "found, $need" ;;
		*)
			# Another interpreter would not see the package.
			case $PYTHON in
			'' | /usr/bin/python3) missing run "Python $module" "python3-$module" "needed $need" ;;
			*) missing run "Python $module" - "$PYTHON has no module $module; needed $need" ;;
			esac ;;
		esac
	done
}

detect_emulators()
{
	look_for run QEMU qemu-system-x86_64 qemu-system-x86
	QEMU=$path

	BOCHS=$(path_of bochs)
	if [ -z "$BOCHS" ]; then
		missing run Bochs bochs 'no bochs'
	elif ! "$BOCHS" --help cpu </dev/null >"$tmp/bochs" 2>&1 || ! grep -q '^tigerlake' "$tmp/bochs"; then
		missing run Bochs bochs "$BOCHS has no CPU model tigerlake: older than 2.7, or built without VMX"
		BOCHS=''
	else
		line run Bochs "$BOCHS $(version_in <"$tmp/bochs")"
	fi
}

# What the backend kvm-on-bochs is made of: a static program for Linux, and kernels, which apt fetches and
# lz4 or zstd unpacks (Debian 12's is LZ4).
detect_l0()
{
	L0=''
	if [ -n "$CC" ] && compiles_static "$CC"; then
		L0=yes
		line run 'static C library' "$CC links with it"
	elif [ -n "$CC" ]; then
		missing run 'static C library' libc6-dev 'for the backend kvm-on-bochs'
	fi
	# Debian's bochs is content with another BIOS, so it does not bring its own.
	if [ ! -e "${BXSHARE:-/usr/share/bochs}/BIOS-bochs-latest" ] &&
		{ [ -z "$BOCHS" ] || [ ! -e "${BOCHS%/*}/../share/bochs/BIOS-bochs-latest" ]; }; then
		missing run "Bochs' BIOS" bochsbios 'for the backend kvm-on-bochs'
	fi
	look_for run lz4 lz4 lz4
	look_for run 'zstd (optional)' zstd zstd
	for command in apt-get dpkg-deb; do
		path_of "$command" >/dev/null || line run "$command" 'not here: kvm-on-bochs takes kernels by --l0-kernel vmlinuz'
	done
}

# Bochs' display listens on a TCP port while it runs; in an empty network namespace nobody sees it.
detect_unshare()
{
	look_for run 'unshare (optional)' unshare util-linux
	UNSHARE=$path
	[ -z "$UNSHARE" ] || "$UNSHARE" -n true 2>/dev/null || "$UNSHARE" -r -n true 2>/dev/null ||
		line run '' 'but network namespaces are not permitted here'
}

# An ISO that boots under a BIOS and under UEFI, and the firmwares that boot it.
detect_iso_tools()
{
	look_for check grub-mkrescue grub-mkrescue grub-common
	look_for check xorriso xorriso xorriso
	look_for check mtools mformat mtools
	look_for_file check "GRUB for a BIOS" /usr/lib/grub/i386-pc/modinfo.sh grub-pc-bin
	look_for_file check "GRUB for UEFI" /usr/lib/grub/x86_64-efi/modinfo.sh grub-efi-amd64-bin
	look_for_file check "UEFI firmware" /usr/share/OVMF/OVMF_CODE_4M.fd ovmf
}

detect_check_tools()
{
	HOSTCC=''
	for command in "${opt_cross:+gcc}" "$opt_cc" gcc clang cc; do
		if [ -n "$command" ] && [ -z "$HOSTCC" ] && compiles_for_host "$command"; then
			HOSTCC=$command
		fi
	done
	if [ -n "$HOSTCC" ]; then
		found_compiler check 'host compiler' "$HOSTCC"
	elif path_of gcc >/dev/null || path_of clang >/dev/null; then
		missing check 'host compiler' libc6-dev 'no C library to link with'
	else
		missing check 'host compiler' gcc 'neither gcc nor clang'
		missing check 'host C library' libc6-dev 'needed with it'
	fi

	look_for check prove prove perl
	PROVE=$path
	look_for check shellcheck shellcheck shellcheck
	SHELLCHECK=$path
	look_for check mypy mypy mypy
	look_for_newer check ruff ruff ruff
	look_for check clang-tidy clang-tidy clang-tidy
	look_for check gdb gdb gdb
	look_for check zsh zsh zsh
	look_for check parallel parallel parallel
	detect_iso_tools
	# Its --version takes a second: not asked.
	if path=$(path_of chromium); then
		line check chromium "$path"
	else
		missing check chromium chromium 'no chromium'
	fi
}

detect()
{
	rm -f "$tmp"/report.*
	packages='' lacking=''
	detect_compilers
	detect_binutils
	detect_make
	detect_python
	detect_python_modules
	detect_emulators
	detect_l0
	detect_unshare
	detect_check_tools
}
