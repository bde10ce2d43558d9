"""What is measured: one function per row of the table. Each makes its own world and clears it away."""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from accounting import Account
from airflow_data import lines, task_path, write_file
from harness import GB, Used, World, pause, run_to_end, terminate, used, wait_for, world

REQUESTS_OF_FLUENT_BIT_PER_GB = 9_634


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One result.

    Attributes:
        name: what was run.
        result: the numbers, for people.
        target: what they should be; empty when there is none.
        is_met: whether they are.
    """

    name: str
    result: str
    target: str = ""
    is_met: bool = True


def throughput(size_gb: float, *, files: int, name: str, **settings: str) -> Row:
    """Ship what is there: CPU of the whole process, start included."""
    with world() as made:
        count = int(size_gb * GB / 239) // files
        size = sum(
            write_file(task_path(made.logs, number), range(number * count, (number + 1) * count), number)
            for number in range(files)
        )
        process = made.forwarder("once", **settings)
        cost, seconds = run_to_end(process)
        got = made.account(count * files)
        assert process.returncode == 0, made.said()
    cpu_per_gb = cost.cpu_seconds / size * GB
    lines_per_core = count * files / cost.cpu_seconds
    requests_per_gb = got.requests / size * GB
    return Row(
        name=f"{name}: {size / GB:.2f} GB in {files} files",
        result=f"**{cpu_per_gb:.1f} CPU-s/GB**, {lines_per_core / 1000:,.0f} k lines/s per core, "
        f"{requests_per_gb:.0f} requests/GB, {size / 1e6 / seconds:.0f} MB/s, "
        f"peak {cost.peak_rss_mb:.0f} MB; {_loss(got)}; bill {_bill(got)}",
        target="<= 6 CPU-s/GB, >= 300 k lines/s, <= 481 requests/GB, 0 missing"
        if settings.get("FORMAT", "envelope") == "envelope"
        else "",
        is_met=("FORMAT" in settings or (cpu_per_gb <= 6 and lines_per_core >= 300_000))
        and requests_per_gb <= REQUESTS_OF_FLUENT_BIT_PER_GB / 20
        and not got.missing,
    )


def marginal(size_gb: float, *, files: int = 40) -> Row:
    """Ship two sizes: the difference is what a gigabyte costs, without the start of the process."""
    small_gb = size_gb / 6
    small, large = (_ship(size, files) for size in (small_gb, size_gb))
    cpu_per_gb = (large[1] - small[1]) / (large[0] - small[0]) * GB
    lines_per_core = GB / 239 / cpu_per_gb
    return Row(
        name=f"envelope, gzip, checkpoints: {size_gb:.2f} GB less {small_gb:.2f} GB",
        result=f"**{cpu_per_gb:.1f} CPU-s/GB**, {lines_per_core / 1000:,.0f} k lines/s per core",
        target="<= 6 CPU-s/GB, >= 300 k lines/s",
        is_met=cpu_per_gb <= 6 and lines_per_core >= 300_000,
    )


def _ship(size_gb: float, files: int) -> tuple[int, float]:
    """Ship this much; return bytes and CPU-seconds."""
    with world() as made:
        count = int(size_gb * GB / 239) // files
        size = sum(
            write_file(task_path(made.logs, number), range(number * count, (number + 1) * count), number)
            for number in range(files)
        )
        process = made.forwarder("once")
        cost, _ = run_to_end(process)
        assert process.returncode == 0, made.said()
        assert made.account(count * files).missing == 0
    return size, cost.cpu_seconds


def tracked_files(count: int) -> Row:
    """Know many files that were shipped and are silent: memory, and what it costs to know them."""
    with world() as made:
        for number in range(count):
            path = task_path(made.logs, number)
            path.parent.mkdir(parents=True)
            path.write_bytes(b'{"event":"done","seq":%d}\n' % number)
        shipping = made.forwarder("once", STOP_TIMEOUT_SECONDS="600")
        run_to_end(shipping)
        assert shipping.returncode == 0, made.said()
        process = made.forwarder("run")
        wait_for(lambda: "SQLite" in _head(made), 30)
        pause(20)
        before = used(process.pid)
        pause(30)
        after = used(process.pid)
        path = task_path(made.logs, count // 2)
        with path.open("ab") as file:
            file.write(b'{"event":"late","seq":%d}\n' % count)
        is_found = wait_for(lambda: made.account(count + 1).missing == 0, 20)
        terminate(process)
    idle = (after.cpu_seconds - before.cpu_seconds) / 30
    return Row(
        name=f"{count:,} tracked files, silent",
        result=f"**{after.rss_mb:.0f} MB RSS**, {idle:.1%} of a core; a line in one of them "
        f"{'arrived' if is_found else 'DID NOT ARRIVE'}",
        target="<= 60 MB",
        is_met=after.rss_mb <= 60 and is_found,
    )


def _head(made: World) -> str:
    state = made.root / "state" / "checkpoints.sqlite3"
    return state.read_bytes()[:16].decode(errors="replace") if state.exists() else ""


def new_file(count: int = 200) -> Row:
    """Make a file and look when the forwarder has it open: its descriptor appears in /proc."""
    with world() as made:
        process = made.forwarder("run", FLUSH_SECONDS="1")
        (made.logs / "first.log").write_bytes(b'{"seq":0}\n')
        wait_for(lambda: made.account(1).missing == 0, 30)
        waits = []
        for number in range(count):
            path = task_path(made.logs, number)
            path.parent.mkdir(parents=True)
            began = time.monotonic()
            path.write_bytes(b"x\n")
            while not _has_open(process.pid, path) and time.monotonic() - began < 5:
                pause(0.0005)
            waits.append((time.monotonic() - began) * 1000)
        terminate(process)
    waits.sort()
    median, late = waits[count // 2], waits[int(count * 0.99)]
    return Row(
        name=f"a new file is open, {count} times",
        result=f"median {median:.1f} ms, **99 % within {late:.1f} ms**",
        target="< 50 ms",
        is_met=late < 50,
    )


def _has_open(pid: int, path: Path) -> bool:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if link.readlink() == path:
                return True
        except OSError:
            continue
    return False


def bill(seconds: float) -> Row:
    """Write 1 MB a minute, as tasks do, and look at what Firehose would bill."""
    per_second = 1_000_000 / 60 / 239
    with world() as made:
        process = made.forwarder("run")
        rng, written, began = random.Random(1), 0, time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            due = int(passed * per_second)
            if due > written:
                path = task_path(made.logs, rng.randrange(10))
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("ab") as file:
                    file.writelines(lines(range(written, due), written))
                written = due
            pause(0.2)
        terminate(process)
        got = made.account(written)
    excess = got.billed_bytes / got.record_bytes - 1
    return Row(
        name=f"bill at 1 MB a minute, {seconds:.0f} s",
        result=f"**{excess:.1%}** above the compressed bytes; {got.records} records; {_loss(got)}",
        target="<= 3 %",
        is_met=excess <= 0.03 and not got.missing,
    )


def short_lived(count: int, *, live_seconds: float = 0.2, per_task: int = 5) -> Row:
    """Write task logs that live for a fifth of a second, and remove their directories."""
    with world() as made:
        process = made.forwarder("run")
        (made.logs / "first.log").write_bytes(b'{"seq":0}\n')
        wait_for(lambda: made.account(1).missing == 0, 30)
        alive: list[tuple[float, Path]] = []
        for task in range(count):
            path = made.logs / f"dag_id=d{task % 20}" / f"run_id=r{task}" / "task_id=t" / "attempt=1.log"
            path.parent.mkdir(parents=True)
            path.write_bytes(
                b"".join(b'{"event":"x","seq":%d}\n' % (1 + task * per_task + n) for n in range(per_task))
            )
            alive.append((time.monotonic(), path.parent.parent))
            while alive and time.monotonic() - alive[0][0] > live_seconds:
                shutil.rmtree(alive.pop(0)[1])
            pause(0.001)
        pause(live_seconds)
        for _, directory in alive:
            shutil.rmtree(directory)
        cost = used(process.pid)
        code = terminate(process, 120)
        got = made.account(1 + count * per_task)
        missed = made.said().count("file_missed")
    return Row(
        name=f"{count:,} tasks whose files live {live_seconds} s, then `rm -r`",
        result=f"**{got.missing:,} of {1 + count * per_task:,} lost** ({missed:,} files told as missed), "
        f"{got.repeated} repeated, "
        f"exit {code}, peak {cost.peak_rss_mb:.0f} MB",
        target="0 lost",
        is_met=got.missing == 0 and got.repeated == 0,
    )


def fault(name: str, script: list[tuple[float, str]], *, kills: int = 0, count: int = 200_000) -> Row:
    """Write 25,000 lines a second while the stream misbehaves, and the forwarder is killed now and then."""
    with world() as made:
        made.mode(script[0][1])
        process = made.forwarder("run", FLUSH_SECONDS="0.5", LOG_LEVEL="error")
        path = task_path(made.logs, 1)
        path.parent.mkdir(parents=True)
        began, written, steps = time.monotonic(), 0, list(script)
        killed_at = [seconds for seconds, _ in script][-1] / (kills + 1) if kills else 0.0
        done_kills = 0
        while written < count or steps or done_kills < kills:
            passed = time.monotonic() - began
            while steps and passed >= steps[0][0]:
                made.mode(steps.pop(0)[1])
            if kills > done_kills and passed > killed_at * (done_kills + 1):
                done_kills += 1
                process.kill()
                process.wait()
                process = made.forwarder("run", FLUSH_SECONDS="0.5", LOG_LEVEL="error")
            upto = min(count, int(passed * 25_000))
            with path.open("ab") as file:
                file.writelines(lines(range(written, upto), 1))
            written = upto
            pause(0.05)
        wait_for(lambda: made.account(count).missing == 0, 120)
        code = terminate(process)
        got = made.account(count)
    return Row(
        name=name,
        result=f"**{got.missing:,} of {count:,} lost**, {got.repeated:,} lines repeated in "
        f"{got.repeated_records} identical records, exit {code}",
        target="0 lost",
        is_met=got.missing == 0 and code == 0,
    )


def outages() -> list[Row]:
    """The accidents of reference 1.3, for our forwarder."""
    return [
        fault("503 for 20 s", [(0, "503"), (20, "ok")]),
        fault("500 for 10 s", [(0, "500"), (10, "ok")]),
        fault("one record of 3 fails, for 15 s", [(0, "partial 3"), (15, "ok")]),
        fault("connections cut for 10 s", [(0, "drop"), (10, "ok")]),
        fault("accepted, then no answer, for 20 s", [(0, "timeout"), (20, "ok")]),
        fault("answers take 2 s, for 10 s", [(0, "slow 2"), (10, "ok")]),
        fault("kill -9 twice, healthy", [(0, "ok"), (12, "ok")], kills=2),
        fault("kill -9 twice during 503", [(0, "503"), (12, "ok")], kills=2),
        fault("kill -9 twice, no answers", [(0, "timeout"), (12, "ok")], kills=2),
    ]


def peer_fluent_bit(size_gb: float, binary: str) -> Row:
    """Run Fluent Bit over the same files (its fastest safe configuration of the reference)."""
    import subprocess

    with world() as made:
        count = int(size_gb * GB / 239)
        size = write_file(task_path(made.logs, 1), range(count), 1)
        configuration = made.root / "fluent-bit.conf"
        configuration.write_text(
            "[SERVICE]\n Flush 1\n Grace 30\n Log_Level error\n scheduler.base 1\n scheduler.cap 5\n"
            f"[INPUT]\n Name tail\n Path {made.logs}/*/*/*/*.log\n Read_from_Head On\n Buffer_Max_Size 2M\n"
            " Skip_Long_Lines On\n Refresh_Interval 1\n Mem_Buf_Limit 256M\n"
            "[OUTPUT]\n Name kinesis_firehose\n Match *\n region eu-west-1\n delivery_stream logs\n"
            f" endpoint localhost\n port {made.port}\n tls.ca_file {made.stream}/ca.pem\n log_key log\n"
            " workers 1\n Retry_Limit False\n"
        )
        process = subprocess.Popen([binary, "-c", str(configuration)], env=made.environment())
        made.running.append(process)
        cost = Used()
        began = time.monotonic()

        def is_done() -> bool:
            nonlocal cost
            cost = used(process.pid)
            accepted = made.stream / "accepted"
            return accepted.exists() and accepted.stat().st_size >= size * 0.97

        wait_for(is_done, 300)
        seconds = time.monotonic() - began
        terminate(process)
        got = made.account(count)
    return Row(
        name=f"peer: {Path(binary).name}, {size / GB:.2f} GB in one file",
        result=f"{cost.cpu_seconds / size * GB:.1f} CPU-s/GB, {got.requests / size * GB:,.0f} requests/GB, "
        f"{size / 1e6 / seconds:.0f} MB/s, peak {cost.peak_rss_mb:.0f} MB; {_loss(got)}; bill {_bill(got)}",
    )


def _loss(got: Account) -> str:
    return f"{got.missing} missing, {got.repeated} repeated"


def _bill(got: Account) -> str:
    return f"{got.billed_bytes / max(1, got.record_bytes) - 1:.1%} above the bytes"
