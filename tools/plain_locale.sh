#!/bin/sh
# The tests of files, consoles and processes as where the locale is not UTF-8, with temporary folders of long names that are not ASCII.
# A Latin-1 locale is made where `localedef` can; else it is C, where such names cannot be opened and plain ones are taken.
# TESTS names other tests, VENV another environment.
set -eu
cd "$(dirname "$0")/.."
VENV="${VENV:-.venv}"
PLACE="$(mktemp -d)"
trap 'rm -rf "$PLACE"' EXIT
LONG="$(printf 'n%.0s' $(seq 200))"
LOCALE=en_US.ISO-8859-1
FOLDER="$PLACE/$(printf '\303\244\305\202 ')$LONG"
localedef -i en_US -f ISO-8859-1 "$PLACE/$LOCALE" 2>/dev/null || true # it fails with warnings only, too
if [ ! -f "$PLACE/$LOCALE/LC_CTYPE" ]; then
    LOCALE=C
    FOLDER="$PLACE/$LONG"
fi
mkdir -p "$FOLDER"
echo "locale $LOCALE, temporary files in $FOLDER"
env LOCPATH="$PLACE" LC_ALL="$LOCALE" PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 TMPDIR="$FOLDER" \
    "$VENV/bin/python" -m pytest -q ${TESTS:-Testing/Core/test_disk.py Testing/Core/test_scratch.py Testing/Core/test_volume.py \
    Testing/Core/test_checkpoint.py Testing/Core/test_cli.py Testing/Core/test_download.py Testing/Lib/test_files.py \
    Testing/Lib/test_recovery.py Testing/Lib/test_training.py Testing/Training/test_toml_io.py Testing/Training/test_dataset_file.py \
    Testing/Training/test_runs.py Testing/Training/test_loading.py Testing/Training/test_train_command.py Testing/Remote/test_client.py Testing/Remote/test_process.py}
