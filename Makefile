# SPDX-License-Identifier: BSD-2-Clause
#
# make            all images: build/x86/NAME.elf, .elf64, .rom, .bzimage (.efi is the same file) and .tests (the list of its tests)
#                 and what L0 of the backend kvm-on-bochs is made of: build/l0
# make iso        build/vmxcheck.iso: a CD, or a stick, that boots under a BIOS and under UEFI; build/x86/NAME.iso: of one image
# make standalone one file an image that needs nothing but Python and an emulator: build/standalone/NAME.run
# make check      the self-tests, a few strange machines, then all images on the backends that `auto` finds
# make check-fast the self-tests alone
# make check-iso  the whole suite by Bochs' BIOS from the CD: the verdicts of the ROM
# make check-kvm  all images under Linux KVM on Bochs
# make check-needs  no test fails where a control is missing: each is taken away in turn
# make CHECK=1    the check build, in build/check: its images also watch the tests and know words that make the
#                 machine a strange one (VMXCHECK_CHECK_BUILD); what people ship has none of it
# make CHECK=1 PAD=4   the same with 4 KBytes of nothing in front of the code, in build/check/pad4
# make check-machines  the images of the check build on strange machines (docs/machines.md; AXES=...); a quarter of an hour
# make new-test ID=...  the row and the skeleton of a new test (docs/writing-a-test.md)
# make docs       tables and figures in docs/, the manual page and completions, afresh
# make findings   docs/findings.md afresh: what is wrong with current targets
# make analyze    gcc's -fanalyzer, clang-tidy and shellcheck
# make V=1        show the commands
#
# An image is x86/NAME.c, or a folder x86/NAME/ with all the *.c and *.S in it;
# those of tests/images/ test the suite itself. `all` has the tests of all of x86/ in it.

ifeq ($(filter clean,$(MAKECMDGOALS)),)
ifeq ($(wildcard config.mk),)
$(error config.mk is missing: run ./configure first)
endif
endif
-include config.mk

B := build$(if $(CHECK),/check)
OUT := $(B)$(if $(PAD),/pad$(PAD))
VERSION := $(file <VERSION)
PYTHON ?= python3
Q := $(if $(V),,@)
comma := ,
say = $(if $(V),@:,@printf '  %-8s %s\n' $(1) $(2))

PARTS := $(sort $(basename $(notdir $(wildcard x86/*.c))) $(patsubst x86/%/,%,$(sort $(dir $(wildcard x86/*/*.c)))))
OWN_IMAGES := $(sort $(PARTS) $(basename $(notdir $(wildcard tests/images/*.c))))
IMAGES := $(OWN_IMAGES) all
sources-of = $(wildcard x86/$(1).c x86/$(1)/*.c x86/$(1)/*.S tests/images/$(1).c)
objects-of = $(patsubst %,$(B)/%.o,$(call sources-of,$(1)))

LIB_SOURCES := $(filter-out lib/boot/rom.S lib/tap/image.c $(if $(CHECK),,lib/hostile/%),$(wildcard lib/*/*.c lib/*/*.S lib/vmxtest/model/*.c))
IMAGE_SOURCES := $(foreach image,$(IMAGES),$(call sources-of,$(image)))
LIB_OBJECTS := $(LIB_SOURCES:%=$(B)/%.o)

CPPFLAGS := -Ilib -DVERSION=$(VERSION) $(if $(CHECK),-DVMXCHECK_CHECK_BUILD) -MMD -MP
CFLAGS := -std=gnu11 -Wa,--fatal-warnings -O2 -g -m64 -mcmodel=small -mno-red-zone -mgeneral-regs-only \
	-ffreestanding -fno-pic -fno-pie -fno-stack-protector -fno-strict-aliasing -fno-asynchronous-unwind-tables \
	-fno-omit-frame-pointer -Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes -Wvla -Wundef
# GCC cannot tell that a variable does not change inside a TRY (x86/fault.h says what must not).
ifeq ($(findstring clang,$(shell $(CC) --version)),)
CFLAGS += -Wno-clobbered
endif
ASFLAGS := -m64 -g -Wa,--fatal-warnings
LDFLAGS := $(if $(PAD),--defsym=image_pad=$(PAD)*1024) \
	-m elf_x86_64 --emit-relocs -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments --fatal-warnings

.PHONY: all docs pictures handed-out findings new-test iso check-iso standalone clean install check check-fast check-images check-clang \
	check-kvm check-releases check-machines check-machines-short check-needs analyze
.SECONDARY:
.DELETE_ON_ERROR:

# L0 needs a static C library; without one everything else is built.
L0_FILES := $(if $(L0),$(B)/l0/init $(B)/l0/loader.bin)

all: $(foreach image,$(IMAGES),$(addprefix $(OUT)/x86/$(image),.elf .rom .efi .tests)) \
	$(L0_FILES) $(if $(CHECK),,compile_commands.json)

# ---- objects

# Once for all, and not by each of hundreds of recipes.
MAKE_FOLDERS = mkdir -p $(OUT)/x86 $$(find lib l0 x86 tests/images -type d | sed 's,^,$(B)/,')
ifeq ($(filter clean,$(MAKECMDGOALS)),)
$(shell $(MAKE_FOLDERS))
endif

$(B)/%.c.o: %.c config.mk Makefile
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

$(B)/%.S.o: %.S config.mk Makefile
	$(call say,AS,$<)
	$(Q)$(CC) $(CPPFLAGS) $(ASFLAGS) -c $< -o $@

$(OUT)/x86/%.name.o: lib/tap/image.c config.mk Makefile
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -DIMAGE_NAME=$* -c $< -o $@

# ---- images: link as 64-bit code, hand out as ELF32 (what Multiboot and PVH loaders take)

define image-rule
$(OUT)/x86/$(1).elf64: $(2) $(OUT)/x86/$(1).name.o $(LIB_OBJECTS) lib/boot/image.ld
	$$(call say,LD,$$@)
	$$(Q)$$(LD) $$(LDFLAGS) -T lib/boot/image.ld -o $$@ $$(filter %.o,$$^)
endef
$(foreach image,$(OWN_IMAGES),$(eval $(call image-rule,$(image),$(call objects-of,$(image)))))
# Those of `abort` come last: where only a reset wakes a processor that they have stopped, the others have had it before.
$(eval $(call image-rule,all,$(patsubst %,$(OUT)/x86/%.part.o,$(filter-out abort,$(PARTS)) abort)))

# Two images may call different things by one name: here what is an image's own is local to it.
define part-rule
$(OUT)/x86/$(1).part.o: $(call objects-of,$(1))
	$$(Q)$$(LD) -m elf_x86_64 -z noexecstack -r -o $$@.tmp $$^
	$$(Q)$$(OBJCOPY) --wildcard --keep-global-symbol='!*' $$@.tmp $$@ && rm $$@.tmp
endef
$(foreach image,$(PARTS),$(eval $(call part-rule,$(image))))

$(OUT)/x86/%.elf: $(OUT)/x86/%.elf64
	$(Q)$(OBJCOPY) -O elf32-i386 -R .testlist -R '.rela*' $< $@

$(OUT)/x86/%.bin: $(OUT)/x86/%.elf64
	$(Q)$(OBJCOPY) -O binary -R .testlist -R .note $< $@

$(OUT)/x86/%.tests: $(OUT)/x86/%.elf64
	$(Q)$(OBJCOPY) -O binary --only-section=.testlist --set-section-flags .testlist=alloc $< $@.tmp
	$(Q)tr -d '\0' <$@.tmp >$@ && rm $@.tmp

$(OUT)/x86/%.rom: $(OUT)/x86/%.bin $(B)/rom.bin scripts/mkrom
	$(Q)$(PYTHON) scripts/mkrom $< $(B)/rom.bin $@

# One file that is a kernel in Linux' boot protocol and an EFI application: the image that a wrapper moves.
$(OUT)/x86/%.bzimage: $(OUT)/x86/%.elf64 $(OUT)/x86/%.bin $(B)/wrap.bin scripts/mkbzimage
	$(Q)$(PYTHON) scripts/mkbzimage $< $(word 2,$^) $(B)/wrap.bin $@

$(OUT)/x86/%.efi: $(OUT)/x86/%.bzimage
	$(Q)ln -f $< $@

WRAP_OBJECTS := $(patsubst %,$(B)/%.o,$(wildcard lib/boot/wrap/*.S lib/boot/wrap/*.c))
$(filter %.c.o,$(WRAP_OBJECTS)): CFLAGS += -fpie -fvisibility=hidden
$(B)/wrap.elf: $(WRAP_OBJECTS) lib/boot/wrap/wrap.ld
	$(call say,LD,$@)
	$(Q)$(LD) -m elf_x86_64 --fatal-warnings -z noexecstack -T lib/boot/wrap/wrap.ld -o $@ $(WRAP_OBJECTS)

$(B)/wrap.bin: $(B)/wrap.elf
	$(Q)$(OBJCOPY) -O binary $< $@

$(B)/rom.bin: $(B)/lib/boot/rom.S.o lib/boot/rom.ld
	$(Q)$(LD) -m elf_x86_64 -T lib/boot/rom.ld --oformat binary -o $@ $<

# ---- L0 of the backend kvm-on-bochs (l0/README.md): a program for Linux and a boot sector

L0_CFLAGS := -std=gnu11 -D_GNU_SOURCE -O2 -g -m64 -Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes -Wvla -Wundef
L0_OBJECTS := $(patsubst %,$(B)/%.o,$(wildcard l0/*.c))

$(L0_OBJECTS): $(B)/%.o: % config.mk Makefile
	$(call say,CC,$<)
	$(Q)$(CC) -MMD -MP $(L0_CFLAGS) -c $< -o $@

$(B)/l0/init: $(L0_OBJECTS)
	$(call say,LD,$@)
	$(Q)$(CC) -m64 -static -pthread -s -o $@ $^

$(B)/l0/loader.bin: $(B)/l0/loader.S.o
	$(Q)$(LD) -m elf_x86_64 -Ttext 0x7c00 --oformat binary -o $@ $<

# ---- what is handed out beside the images

iso: $(B)/vmxcheck.iso

$(B)/vmxcheck.iso: all scripts/mkiso
	$(call say,ISO,$@)
	$(Q)$(PYTHON) scripts/mkiso $@ $(OUT)/x86

$(OUT)/x86/%.iso: $(OUT)/x86/%.elf scripts/mkiso
	$(call say,ISO,$@)
	$(Q)$(PYTHON) scripts/mkiso $@ $(OUT)/x86 $*

standalone: $(foreach image,$(IMAGES),$(B)/standalone/$(image).run)

$(B)/standalone/%.run: $(OUT)/x86/%.elf $(OUT)/x86/%.rom $(OUT)/x86/%.tests unittests.cfg scripts/mkstandalone \
		scripts/standalone.sh $(shell find scripts/vmxcheck spec -name "*.py" -o -name "*.tsv")
	$(call say,PACK,$@)
	$(Q)$(PYTHON) scripts/mkstandalone $(OUT)/x86 $* $@

# What docs/ contains that is made from sources (tests/house/test_docs.py compares it), and the manual page and completions.
docs: handed-out
	$(Q)$(PYTHON) scripts/mkdocs --write

# The pictures of docs/, of runs that are there: make pictures RESULTS="results/A results/B" (docs/running.md, "Reports"), with chromium.
SHOT = chromium --headless --no-sandbox --disable-gpu --hide-scrollbars
REPORT = file://$(CURDIR)/$(B)/docs/report.html
pictures:
	$(Q)mkdir -p $(B)/docs
	$(Q)./run_tests.sh report $(RESULTS) --html $(B)/docs/report.html
	$(Q)$(SHOT) --window-size=1400,1000 --screenshot=docs/report.png "$(REPORT)"
	$(Q)$(SHOT) --window-size=1400,1000 --screenshot=docs/report-matrix.png "$(REPORT)#matrix"
	$(Q)test ! -e results/matrix/matrix.svg || cp results/matrix/matrix.svg docs/matrix.svg

# From the same options as --help.
# Without the library shtab there are no completions.
COMPLETIONS := $(if $(SHTAB),$(B)/docs/vmxcheck.bash $(B)/docs/vmxcheck.zsh)
handed-out: $(B)/docs/vmxcheck.1 $(COMPLETIONS)

MANUAL = cd scripts && $(PYTHON) -S -m vmxcheck.manual
$(B)/docs/vmxcheck.%: scripts/vmxcheck/manual.py scripts/vmxcheck/options.py VERSION unittests.cfg spec/catalogue.tsv
	$(Q)mkdir -p $(@D)
	$(Q)($(MANUAL) $(if $(filter 1,$*),man,$*)) >$@

# A row of the catalogue and a skeleton: make new-test ID=exit.rdtsc.wraps [TITLE=...] [KIND=entry|exit] [CPUS=2] [FILE=...]
NEW_TEST = $(foreach key,TITLE SECTION KIND CPUS NEEDS FILE,$(if $($(key)),"$(key)=$($(key))"))
new-test:
	$(Q)$(PYTHON) scripts/new-test $(ID) $(NEW_TEST)

# In the repository, so that it can be read there; tests/runner/test_findings.py says when it is old.
findings:
	$(Q)(cd scripts && $(PYTHON) -S -m vmxcheck.findings) >docs/findings.md.new && mv docs/findings.md.new docs/findings.md

# ---- checks

check: check-fast check-machines-short check-images

# What guards the code itself: both compilers, the self-tests. No image is run for its own sake.
check-fast: all check-clang
	$(Q)$(PYTHON) tests/run.py

# The check build's images, which also see that each test asks for what it uses.
check-images: all
	$(Q)$(MAKE) --no-print-directory CHECK=1 all
	$(Q)./run_tests.sh --build $(B)/check --fail-stale

# A real hypervisor under test. A smoke set is part of check-fast (tests/kvm); all of it takes two minutes.
check-kvm: all
	$(Q)./run_tests.sh --backend kvm-on-bochs --fail-stale

# Both commands of the README on fresh roots of Debian releases: RELEASES="bookworm trixie forky". Needs root; half an hour.
check-releases:
	$(Q)$(PYTHON) scripts/check-releases $(RELEASES)

check-machines: all
	$(Q)./run_tests.sh machines $(AXES)

check-machines-short: all
	$(Q)./run_tests.sh machines --short

check-iso: all
	$(Q)WHOLE=1 $(PYTHON) tests/suite/test_iso.py MadeIso.test_bochs_bios

# Each control that may be 0 taken away in turn; minutes. A short selection is in tests/suite/test_needs.py.
check-needs: all
	$(Q)$(MAKE) --no-print-directory CHECK=1 all
	$(Q)$(PYTHON) tests/suite/sweep.py

# The slower checkers. Address 0 is memory here.
# gcc's analyzer sees each file alone; which checks of clang-tidy say nothing here is in .clang-tidy, with reasons.
ANALYZER_CPPFLAGS = $(filter-out -M%,$(CPPFLAGS)) -DVMXCHECK_CHECK_BUILD
ANALYZED := $(filter %.c,$(LIB_SOURCES) $(IMAGE_SOURCES) $(wildcard lib/hostile/*.c))
analyze: $(ANALYZED:%.c=$(B)/analyze/%.gcc) $(ANALYZED:%.c=$(B)/analyze/%.tidy)
	$(Q)shellcheck configure run_tests.sh scripts/*.sh .ci/run .ci/second-bochs docs/ci/fleet.sh

$(B)/analyze/%.gcc: %.c
	$(call say,ANALYZE,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(GCC) $(ANALYZER_CPPFLAGS) $(filter-out -O2 -g -W%,$(CFLAGS)) -O1 -fanalyzer -Wno-analyzer-null-dereference \
		-Wall -Wno-clobbered -Werror \
		-c $< -o /dev/null
	$(Q)touch $@

$(B)/analyze/%.tidy: %.c .clang-tidy
	$(call say,TIDY,$<)
	$(Q)mkdir -p $(@D)
	$(Q)clang-tidy --quiet --warnings-as-errors='*' $< -- $(ANALYZER_CPPFLAGS) \
		$(filter-out -Wno-clobbered -Wa$(comma)%,$(CFLAGS)) 2>$@.log || { cat $@.log; false; }
	$(Q)touch $@

check-clang:
ifneq ($(CLANG),)
	$(call say,CHECK,'clang builds everything too')
	$(Q)$(MAKE) --no-print-directory B=$(B)/clang CC=$(CLANG) Q=@ say= all
else
	@echo "  SKIP     clang is not installed: only $(CC) was tried"
endif

# ---- the rest

# Written by make itself: all of it is more than a shell takes as one argument.
COMMAND_SOURCES := $(LIB_SOURCES) $(IMAGE_SOURCES)
compile_commands.json: Makefile config.mk $(COMMAND_SOURCES)
	$(file >$@,[)
	$(foreach source,$(COMMAND_SOURCES),$(file >>$@,{"directory": "$(CURDIR)"$(comma) "file": "$(source)"$(comma) \
		"command": "$(CC) $(CPPFLAGS) $(if $(filter %.c,$(source)),$(CFLAGS),$(ASFLAGS)) -c \
		$(source)"}$(if $(filter $(lastword $(COMMAND_SOURCES)),$(source)),,$(comma))))
	$(file >>$@,])

# The installed tree has the same shape, so that the runner finds everything in its place.
# The sources of the tests are there for the lines that a failure shows; no Makefile is, by which the runner knows.
TREE := $(DESTDIR)$(PREFIX)/lib/vmxcheck
SHARE := $(DESTDIR)$(PREFIX)/share
DOC := $(SHARE)/doc/vmxcheck
install: all handed-out
	install -d $(TREE)/$(OUT)/x86 $(TREE)/tests $(DESTDIR)$(PREFIX)/bin $(SHARE)/man/man1 $(DOC)
	install -m 755 run_tests.sh $(TREE)/vmxcheck
	install -m 644 unittests.cfg config.mk VERSION $(TREE)/
	$(if $(L0_FILES),install -d $(TREE)/$(B)/l0 && install -m 644 $(L0_FILES) $(TREE)/$(B)/l0/)
	install -m 644 $(foreach image,$(IMAGES),$(addprefix $(OUT)/x86/$(image),.elf .elf64 .rom .tests)) $(TREE)/$(OUT)/x86/
	cp -R scripts spec lib x86 $(TREE)/
	cp -R tests/images $(TREE)/tests/
	rm -f $(addprefix $(TREE)/scripts/,check-releases find-tools.sh mkdocs mkstandalone new-test standalone.sh vmxcheck/README.md)
	find $(TREE) -name __pycache__ -prune -exec rm -rf {} +
	find $(TREE)/lib $(TREE)/x86 $(TREE)/spec $(TREE)/tests -type f -exec chmod 644 {} +
	ln -sf ../lib/vmxcheck/vmxcheck $(DESTDIR)$(PREFIX)/bin/vmxcheck
	install -m 644 $(B)/docs/vmxcheck.1 $(SHARE)/man/man1/
	install -m 644 README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE $(DOC)/
	cp -R docs $(DOC)/
	$(if $(COMPLETIONS),install -D -m 644 $(B)/docs/vmxcheck.bash $(SHARE)/bash-completion/completions/vmxcheck)
	$(if $(COMPLETIONS),install -D -m 644 $(B)/docs/vmxcheck.zsh $(SHARE)/zsh/site-functions/_vmxcheck,\
		@echo 'SKIP completions: no Python module shtab (Debian package python3-shtab)')

clean:
	$(Q)rm -rf $(B) compile_commands.json
	$(Q)$(if $(filter-out clean,$(MAKECMDGOALS)),$(MAKE_FOLDERS))

-include $(shell find $(B) -name '*.d' 2>/dev/null)
