#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# fleet.sh FOLDER N [OPTION]...: run the suite in N parts at the same time with GNU parallel (Debian package
# parallel), join them, and leave with the exit status of the whole. FOLDER/merged has the joined results.
#
# On several machines: put the same tree, built, into the same place of each, share FOLDER between them, and
# name them: PARALLEL='--sshlogin host1,host2 --workdir .' fleet.sh ... (parallel reads $PARALLEL).
set -u
[ $# -ge 2 ] || { echo "usage: fleet.sh FOLDER N [OPTION]..." >&2; exit 2; }
folder=$1 parts=$2
shift 2
run=$(dirname "$(readlink -f "$0")")/../../run_tests.sh
mkdir -p "$folder" && folder=$(readlink -f "$folder") || exit 2

# The parts are cut by the durations of the last whole run. Each part reads the same ones: a copy, so that
# nothing that runs meanwhile can change the cut.
rm -f "$folder/durations.json"
for last in "$folder/merged/latest-whole/results.json" "$(dirname "$run")/results/latest-whole/results.json"; do
	if [ ! -e "$folder/durations.json" ] && [ -e "$last" ]; then
		cp "$last" "$folder/durations.json" && set -- --durations "$folder/durations.json" "$@"
	fi
done

# A part that fails is a result like any other: the join says what it means, and misses a part that has none.
rm -rf "$folder"/part-*
seq "$parts" | parallel --will-cite --quote --line-buffer --tag \
	"$run" -q --jobs 1 --results "$folder/part-{}" --shard "{}/$parts" "$@" || :

set -- "$run" merge --results "$folder/merged"
for part in $(seq "$parts"); do
	[ -e "$folder/part-$part" ] && set -- "$@" "$folder/part-$part"
done
exec "$@"
