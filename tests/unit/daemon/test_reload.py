"""Every section of the settings is either reloaded at SIGHUP, or reported as needing a restart."""

from __future__ import annotations

from listener.daemon.reload import RELOADABLE, apply_reloadable, sections_needing_restart
from listener.settings.sections import LogSettings, RetrySettings, Settings
from tests.support.cases import each_case

CHANGED = "another value"
#: Sections of which only some settings are reloaded.
IN_PART = {path.partition(".")[0] for path in RELOADABLE if "." in path}


@each_case("section", sorted(set(Settings.model_fields) - IN_PART))
def test_a_changed_section_is_either_reloaded_or_reported(section: str) -> None:
    running = Settings()
    new = running.model_copy(update={section: CHANGED})

    reloaded = getattr(apply_reloadable(running, new), section) == CHANGED
    reported = sections_needing_restart(running, new) == [section]

    assert (reloaded, reported) == (section in RELOADABLE, section not in RELOADABLE)


def test_what_is_reloadable_is_a_section_or_a_setting() -> None:
    settings = {
        f"{section}.{name}" for section in IN_PART for name in type(getattr(Settings(), section)).model_fields
    }

    assert set(RELOADABLE) <= set(Settings.model_fields) | settings


def test_the_log_level_is_reloaded_and_the_format_is_not() -> None:
    running = Settings()
    new = Settings(log=LogSettings(level="debug", format="console"))

    assert apply_reloadable(running, new).log == LogSettings(level="debug")
    assert sections_needing_restart(running, new) == ["log"]
    assert sections_needing_restart(running, Settings(log=LogSettings(level="debug"))) == []


def test_a_section_is_reported_at_every_reload_until_the_restart() -> None:
    running = Settings()
    new = Settings(log=LogSettings(format="console"), retry=RetrySettings(max_attempts=3))
    for _reload in range(2):
        running = apply_reloadable(running, new)

        assert running.retry.max_attempts == 3
        assert sections_needing_restart(running, new) == ["log"]
