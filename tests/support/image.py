"""The image, built by podman on a base made here, and entered as a container engine would start it.

Neither needs a registry of images, nor `podman run`, which fails on machines without CAP_SYS_RESOURCE.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import ROOT
from tests.support.mounts import in_memory
from tests.support.supervised import children_of

BASE = "localhost/base"
STATE = "var/lib/mns-listener"
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"

#: Becomes PID 1: a read-only root with the volumes of the examples, then the program in place of this shell.
ENTER = """\
set -e
mount --bind {root} {root}
mount -o remount,bind,ro {root}
mount -t proc proc {root}/proc
mount -t tmpfs -o mode=1777 tmpfs {root}/tmp
mount --bind {state} {root}/{state_in_image}
mount --rbind /dev {root}/dev
exec chroot --userspec={user} {root} env -i -C /{state_in_image} {variables} {command}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    root: Path
    config: dict[str, Any] = field(repr=False)

    @contextmanager
    def started(
        self, *arguments: str, state: Path, user: str, entrypoint: Sequence[str] = ()
    ) -> Iterator[subprocess.Popen[str]]:
        """The entry point as PID 1 of its own namespace; ``state`` is its volume, made as an engine makes one."""
        _make_volume(self.root / STATE, state)
        script = ENTER.format(
            root=self.root,
            state=state,
            state_in_image=STATE,
            user=user,
            variables=shlex.join(self.config["Env"]),
            command=shlex.join([*(entrypoint or self.config["Entrypoint"]), *arguments]),
        )
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    # A change of the user takes back that PID 1 ends with its parent (--kill-child).
                    for pid in children_of(process.pid):
                        os.kill(pid, signal.SIGKILL)
                process.kill()


def _make_volume(folder: Path, volume: Path) -> None:
    """An empty volume takes owner and mode from the folder of the image that it is mounted over."""
    there = folder.stat()
    volume.mkdir(exist_ok=True)
    os.chown(volume, there.st_uid, there.st_gid)
    volume.chmod(there.st_mode & 0o7777)


@contextmanager
def built() -> Iterator[Image]:
    """Make the base, build container/Containerfile on it, and mount the result; all in memory."""
    with in_memory() as folder:
        yield from _built(folder)


def _built(folder: Path) -> Iterator[Image]:
    podman = ["podman", f"--root={folder}/storage", f"--runroot={folder}/run", "--cgroup-manager=cgroupfs"]
    _import_base(podman, folder / "base")
    _run(
        *(*podman, "build", "--quiet", "--network=host", "--isolation=chroot", "--pull=never"),
        *("--build-arg", f"BASE={BASE}", "--tag=mns-listener"),
        *("--ignorefile=container/Containerfile.dockerignore", "--file=container/Containerfile", "."),
    )
    config = json.loads(_run(*podman, "image", "inspect", "mns-listener"))[0]["Config"]
    root = Path(_run(*podman, "image", "mount", "mns-listener").strip())
    yield Image(root=root, config=config)


def _import_base(podman: Sequence[str], base: Path) -> None:
    """A small Debian with Python where the official image of Python has it, and this machine's way to a registry."""
    _run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", _codename(), str(base), _mirror())
    (base / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    (base / "etc/pip.conf").write_text(_pip_settings(), "utf-8")
    shutil.copy2(f"/{CERTIFICATES}", base / CERTIFICATES)
    archive = base.with_suffix(".tar")
    _run("tar", f"--directory={base}", "--create", f"--file={archive}", ".")
    _run(*podman, "import", "--quiet", str(archive), BASE)


def _codename() -> str:
    (found,) = re.findall(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    return str(found)


def _mirror() -> str:
    """Where apt gets this release from."""
    uris = _run("apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages")
    return dict(line.split() for line in uris.splitlines())[_codename()]


def _pip_settings() -> str:
    """What pip uses here, from files and environment, without limits on versions."""
    listed = subprocess.check_output([sys.executable, "-m", "pip", "config", "list"], text=True)
    settings = dict(line.partition(".")[2].split("=", 1) for line in listed.splitlines())
    settings.pop("constraint", None)
    values = {name.lstrip("."): ast.literal_eval(value) for name, value in settings.items()}
    return "[global]\n" + "".join(f"{name} = {' '.join(v.split())}\n" for name, v in values.items())


def _run(*command: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (
        f"{shlex.join(command)}: {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    )
    return done.stdout
