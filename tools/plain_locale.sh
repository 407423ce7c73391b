#!/bin/sh
# The tests of files, consoles and processes as where the locale is not UTF-8, with temporary folders of long names that are not ASCII.
set -eu
cd "$(dirname "$0")/.."
VENV="${VENV:-.venv}"
FOLDER="$(mktemp -d)/$("$VENV/bin/python" -X utf8 -c 'print("\u00e4\u0142\u8133 " + 60 * "n")')"
mkdir -p "$FOLDER"
exec env LC_ALL=C LANG=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 PYTHONWARNDEFAULTENCODING=1 TMPDIR="$FOLDER" \
    "$VENV/bin/python" -m pytest -q ${TESTS:-Testing/Core/test_disk.py Testing/Core/test_scratch.py Testing/Core/test_volume.py \
    Testing/Core/test_checkpoint.py Testing/Core/test_cli.py Testing/Core/test_download.py Testing/MRML/test_files.py \
    Testing/MRML/test_recovery.py Testing/MRML/test_training.py Testing/Train/test_config_io.py Testing/Train/test_dataset_file.py \
    Testing/Train/test_runs.py Testing/Train/test_train_command.py Testing/Worker/test_client.py Testing/Worker/test_process.py}
