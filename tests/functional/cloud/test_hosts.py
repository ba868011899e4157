"""The agent as a process: killed at each step of a boot and of a snapshot, it leaves nothing and loses nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from objstore.compute.host.processes import is_process_of, processes_with
from objstore.compute.host.records import MachineFolder
from objstore.compute.protocol import MachineAction, MachineSpec
from tests.functional.cloud.guest import guest_image, lacking, machine_folder
from tests.functional.cloud.services import CloudServices
from tests.unit.compute.host.machines import SERVER, Compute, Images, machine, source
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(bool(lacking()), reason=f"programs are missing: {' '.join(lacking())}")

CONFIG = """\
[host]
folder = "{folder}"
accelerator = "tcg"
interval = "50ms"
[compute]
url = "{url}"
[image]
url = "{url}"
[identity]
url = "{url}/v3"
user = "host"
password = "secret"
"""


class AgentProcess:
    """objstore compute-host, with its folder."""

    def __init__(self, folder: Path, services: CloudServices) -> None:
        self.folder = folder
        self.services = services
        self.machine = MachineFolder(folder / "machines" / SERVER, SERVER)
        self._config = folder / "compute-host.toml"
        self._config.write_text(CONFIG.format(folder=folder, url=services.url), encoding="utf-8")
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "objstore.tools.main", "compute-host", "--config", str(self._config)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.wait(30) == 0

    @property
    def hypervisors(self) -> list[int]:
        """Machines' processes, by their command lines; helpers of theirs are none."""
        return [
            number for number, line in processes_with(f"{self.folder}/machines/").items() if line.startswith("qemu")
        ]


@pytest.fixture
def services() -> Iterator[CloudServices]:
    running = CloudServices(Images({"guest": guest_image().read_bytes()}), Compute())
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def agent(services: CloudServices) -> Iterator[AgentProcess]:
    with machine_folder() as folder:
        running = AgentProcess(folder, services)
        yield running
        running.services.hold.set()
        if services.compute.machines:
            services.compute.outcome(services.compute.add(MachineAction.DELETE))
        running.stop()
        assert list((folder / "machines").iterdir()) == []
        assert list((folder / "journal").iterdir()) == []


def guest(services: CloudServices) -> MachineSpec:
    return machine(image=source("guest", services.images.contents["guest"], "qcow2"), config_drive=True)


def steps(agent: AgentProcess) -> dict[str, Callable[[], object]]:
    """What can be seen of a boot, in its order."""
    folder = agent.machine
    return {
        "the task is written down": lambda: any((agent.folder / "journal").iterdir()),
        "the machine has a folder": lambda: folder.read() is not None,
        "its disk is made": folder.root_disk.exists,
        "its config drive is made": folder.config_drive.exists,
        "its process has a number": folder.process_number.exists,
    }


def test_killed_at_each_step_of_a_boot_it_boots_the_machine_once(agent: AgentProcess, services: CloudServices) -> None:
    compute = services.compute
    for step, reached in steps(agent).items():
        wait_until(lambda: compute.registrations, "the agent is there")
        task = compute.add(MachineAction.BUILD, machine=guest(services))
        wait_until(lambda reached=reached, task=task: reached() or task not in compute.tasks, step)  # type: ignore[misc]
        agent.kill()
        agent.start()
        assert compute.outcome(task).succeeded, step
        assert len(agent.hypervisors) == 1, step
        assert is_process_of(int(agent.machine.process_number.read_text()), str(agent.folder))
        assert compute.outcome(compute.add(MachineAction.DELETE)).succeeded
        assert (agent.hypervisors, agent.machine.path.exists()) == ([], False), step


def test_killed_in_the_midst_of_a_snapshot_it_takes_it_again_and_the_machine_goes_on(
    agent: AgentProcess, services: CloudServices
) -> None:
    compute = services.compute
    assert compute.outcome(compute.add(MachineAction.BUILD, machine=guest(services))).succeeded
    before = agent.hypervisors
    services.hold.clear()
    task = compute.add(MachineAction.SNAPSHOT, image_id="snapshot")
    wait_until(lambda: services.uploads == ["snapshot"], "the upload is under way")
    agent.kill()
    services.hold.set()
    agent.start()
    assert compute.outcome(task).succeeded
    assert services.uploads == ["snapshot", "snapshot"]
    assert services.images.contents["snapshot"].startswith(b"QFI\xfb")
    assert agent.hypervisors == before
    assert [path.name for path in agent.machine.path.iterdir() if path.name.startswith("fleece")] == []


def test_a_machine_whose_process_is_killed_is_reported_as_off(agent: AgentProcess, services: CloudServices) -> None:
    compute = services.compute
    assert compute.outcome(compute.add(MachineAction.BUILD, machine=guest(services))).succeeded
    for number in agent.hypervisors:
        subprocess.run(["kill", "-9", str(number)], check=True)
    wait_until(lambda: [int(each.power) for each in compute.reports][-1:] == [4], "it is reported")
    assert compute.outcome(compute.add(MachineAction.START)).succeeded
    assert len(agent.hypervisors) == 1


def test_a_host_that_was_lost_lets_go_of_its_machines(agent: AgentProcess, services: CloudServices) -> None:
    compute = services.compute
    assert compute.outcome(compute.add(MachineAction.BUILD, machine=guest(services))).succeeded
    compute.fence()
    wait_until(lambda: agent.hypervisors == [], "its machines are gone")
    wait_until(lambda: not agent.machine.path.exists(), "nothing is left of them")


def test_a_machine_waits_while_the_image_service_is_away(agent: AgentProcess, services: CloudServices) -> None:
    compute, images = services.compute, services.images
    images.fail = 3
    assert compute.outcome(compute.add(MachineAction.BUILD, machine=guest(services))).succeeded
    assert images.fail == 0
