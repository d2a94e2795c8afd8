"""Opens the folder in which the state of an emulator outlasts its process."""

from __future__ import annotations

from pathlib import Path

from listener.emulator.data_file import DataFile
from listener.emulator.emulator import Emulator
from listener.emulator.restored_state import restore
from listener.emulator.saved_state import SavedState


def open_data(emulator: Emulator, folder: Path) -> None:
    """Restore what is in the folder, and save all changes there from now on.

    Needs the running event loop. Raises DataError.
    """
    file = DataFile(folder)
    restore(emulator, file)
    emulator.save_by(SavedState(emulator, file))
