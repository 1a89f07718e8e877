"""`inrush serve` notices what it must load again."""

from __future__ import annotations

import os
import threading

from inrush.cli.programs import changes, programs


def a_program(folder, value: int):
    (folder / "its_parts").mkdir(exist_ok=True)
    (folder / "its_parts" / "__init__.py").write_text("")
    (folder / "its_parts" / "numbers_of_it.py").write_text(f"value = {value}\n")
    (folder / "a_changing_program.py").write_text("from its_parts.numbers_of_it import value\n")
    return programs.load(str(folder / "a_changing_program.py")).module


def test_the_program_and_what_it_imports_from_its_folder_are_watched_and_loaded_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    first = a_program(tmp_path, 1)
    files = changes.files_of(first)
    assert [file.name for file in files] == ["a_changing_program.py", "__init__.py", "numbers_of_it.py"]
    changes.forget(files)
    assert a_program(tmp_path, 2).value == 2
    changes.forget(files)


def test_waiting_ends_with_the_files_that_were_written(tmp_path):
    quiet, busy = tmp_path / "quiet.py", tmp_path / "busy.py"
    for file in (quiet, busy):
        file.write_text("")
    before = changes.times_of([quiet, busy])
    writer = threading.Timer(0.2, lambda: os.utime(busy, (1, 1)))
    writer.start()
    assert changes.wait(before) == [busy]
    writer.join()


def test_a_file_that_is_gone_for_a_moment_is_no_change_until_it_is_back(tmp_path):
    file = tmp_path / "saved.py"
    file.write_text("")
    before = changes.times_of([file])
    file.unlink()
    writer = threading.Timer(0.5, lambda: (file.write_text("new"), os.utime(file, (2, 2))))
    writer.start()
    assert changes.wait(before) == [file]
    writer.join()
