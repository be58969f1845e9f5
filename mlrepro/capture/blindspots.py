"""Blind spots: say in sentences what of a run could not be seen."""

from __future__ import annotations

from collections.abc import Iterable

_LOCAL = ("127.", "localhost", "::1", "0.0.0.0")  # noqa: S104  names to tell apart, nothing is bound
_OWN_SOCKETS = ("pymp-", "/nscd/", "/.X11-unix/", "listener-", "/run/systemd/")

_NO_EVENT = "changed during the run, and no program was seen to do it"
_HIDES_FILES = (
    *("was not seen", "is not seen", "are seen", "could be watched"),
    *("the log was full", "not all of it could be written"),
)
_HIDES_BYTES = ("is not recorded", "are not known")
_STARTS = ("nothing of this run was observed", _NO_EVENT)


def matters(sentence: str) -> bool:
    """Say whether a blind spot may hide something that the result depends on."""
    if sentence.startswith(_NO_EVENT):  # mostly somebody who goes on working
        return False
    return hides_files(sentence) or sentence.endswith(_HIDES_BYTES)


def hides_files(sentence: str) -> bool:
    """Say whether files may have been read that are not among the inputs."""
    return sentence.endswith(_HIDES_FILES) or sentence.startswith(_STARTS)


def network(connections: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return a sentence for what other machines answered, and one for this machine's services.

    Parameters
    ----------
    connections : iterable of str
        Addresses, or paths of sockets.
    names : iterable of str
        Names of hosts that were looked up.
    """
    here: list[str] = []
    there: list[str] = []
    for address in connections:
        if address.startswith(("\0", "@")) or any(word in address for word in _OWN_SOCKETS):
            continue
        local = address.startswith(("/", *_LOCAL)) or address == ""
        (here if local else there).append(address)
    found = []
    if there:
        hosts = [name for name in names if not name.startswith(_LOCAL)] or there
        found.append(f"the network was used ({_list(hosts)}); what came from there is not recorded")
    if here:
        found.append(
            f"a service on this machine was used ({_list(here)}); what it answered is not recorded"
        )
    return found


def appended(paths: Iterable[str]) -> list[str]:
    """Return a sentence for each file that was added to and of whose beginning there is no copy."""
    return [
        f"`{path}` was appended to; what it held before the run is not recorded" for path in paths
    ]


def compiled(modules: Iterable[str]) -> list[str]:
    """Return a sentence for each library that opens files where no observer sees it."""
    return [
        f"`{module}` was imported; what its compiled code reads is not seen" for module in modules
    ]


def without_event(paths: list[str]) -> list[str]:
    """Return a sentence for what changed though nobody was seen to change it.

    Somebody else may have done it, or a program that calls the system by itself.
    """
    if not paths:
        return []
    return [f"{_NO_EVENT}: {_list(paths)}"]


def incomplete(*, damaged: int, lost: int) -> list[str]:
    """Return a sentence for what the log itself lacks."""
    found = []
    if lost:
        events = "event was" if lost == 1 else "events were"
        found.append(f"{lost:,} {events} lost: the log was full")
    if damaged:
        found.append("the log of this run is incomplete: not all of it could be written")
    return found


def _list(words: list[str]) -> str:
    shown = ", ".join(words[:5])
    return shown if len(words) <= 5 else f"{shown} and {len(words) - 5} more"
