# SPDX-License-Identifier: BSD-2-Clause
"""What a backend is: it boots an image and hands back the bytes of its serial port."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, List, Optional, Tuple

from ..emulator import Emulator
from ..images import Image
from ..launch import Boot, Launch
from ..settings import Settings


class Backend:
    """`name` as in --backend and unittests.cfg; `cpu` is the model that it offers its guest."""

    name = ""
    slow = False  # so that a long walk over values would take minutes
    at_once: Optional[int] = None  # how many images it can run at a time; None: any number
    ends_by_itself = True  # behind the last line of an image

    def __init__(self, settings: Settings, cpu: Optional[str] = None, root: Path = Path("/")) -> None:
        self.settings = settings
        self.root = root  # where /proc, /sys and /dev are: tests bring their own
        self.named_cpu = cpu  # by the user; None: the default

    @property
    def default_cpu(self) -> str:
        """The model where the user names none."""
        return ""

    @property
    def shutdown_ends(self) -> bool:
        """Whether the shutdown of one processor ends the machine."""
        return False

    @property
    def cpu(self) -> str:
        return self.named_cpu or self.default_cpu

    def other_model(self, reason: str) -> Optional["Backend"]:
        """The same with another processor, for a test that is skipped on the default one for that reason."""
        return None

    def available(self) -> Optional[str]:
        """None, or why it cannot run here."""
        raise NotImplementedError

    def words(self, arguments: str = "") -> str:
        """What an image must be told of the machine, where the arguments do not: it may be stopped and reset at no cost."""
        words = ["machine=emulated"] + (["shutdown=ends"] if self.shutdown_ends else [])
        return " ".join(word for word in words if word.partition("=")[0] + "=" not in arguments)

    def features(self) -> FrozenSet[str]:
        """What an image may need: "vmx", "smp". Only asked when it is available."""
        raise NotImplementedError

    def lacks(self, feature: str) -> str:
        """Why a feature is not there, for people."""
        return "%s has no %s" % (self.name, feature.upper())

    def version(self) -> str:
        raise NotImplementedError

    def table(self) -> Tuple[str, str]:
        """Whose known deviations it has, BACKEND.tsv, and its version there: ("bochs", "2.7")."""
        match = re.match(r"\d+\.\d+", self.version())
        return self.name, match.group(0) if match else "unknown"

    def target(self) -> str:
        """Its name in the results, such as bochs-2.7."""
        return "-".join(self.table())

    def cpu_models(self) -> List[str]:
        """The models that --cpu can name."""
        raise NotImplementedError

    def needs_file(self, image: Image) -> Optional[str]:
        """None, or which file of the image is not there, and what makes it."""
        path = self.file(image)
        return None if path.exists() else "image `%s` is not built: %s is missing; run make" % (image.name, path)

    def file(self, image: Image) -> Path:
        """What of an image it boots."""
        return image.elf

    def known_file(self) -> Optional[Path]:
        """Its known deviations, where they are not in the folder of all others."""
        return None

    def limit(self) -> Optional[float]:
        """Seconds that an image may go without progress there; None: what its section says."""
        return None

    def repro(self) -> List[str]:
        """The options that name it."""
        return ["--backend", self.name] + (["--cpu", self.cpu] if self.cpu != self.default_cpu else [])

    def command(self, boot: Boot) -> Launch:
        """Write what the emulator needs into the boot's folder and say how to start it."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Fetch what it needs, before anything is booted. Problem if that fails."""

    def start(self, boot: Boot, starting: Callable[[Launch], None]) -> Any:
        """Boot it: an Emulator, or what has the face of one. `starting` is told of a process before it starts."""
        launch = self.command(boot)
        starting(launch)
        return Emulator(launch, boot.folder)

    def stop(self) -> None:
        """The run is over: end what outlives a boot."""

    def unusable(self) -> Optional[str]:
        """None, or what was found since the start that lets no image run, with the remedy."""
        return None

    def conditions(self) -> Dict[str, str]:
        """What is special about the target, by keys of the conditions in spec/known."""
        return {}

    def facts(self) -> Dict[str, str]:
        """More about the target, known after the run."""
        return {}

    def start_failed(self, output: str) -> bool:
        """Nothing was booted, for a reason that goes away: try once more."""
        return False

    def last_words(self, output: str) -> str:
        """What the emulator said about its end, in one line, or ""."""
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""
