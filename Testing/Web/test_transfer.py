"""Uploads go to the disk, up to a bound; downloads come from there."""

import asyncio

import pytest
from aiohttp import ClientSession, web
from NeuroSAM2Web.server.transfer import MAX_UPLOAD_BYTES, Transfer

from NeuroSAM2Core.errors import DataError
from Testing.Support.apart import run_apart


class TransferBench:
    """A server with the two roads, and what it was given."""

    def __init__(self, folder, *, largest=1000):
        self.folder, self.received, self.problem = folder, [], ""
        self.transfer = Transfer(folder, self.take, largest=largest)

    async def take(self, path, name):
        self.received.append((name, path.read_bytes()))
        if self.problem:
            raise DataError(self.problem)

    def visit(self, act):
        async def run():
            app = web.Application()
            app.router.add_routes(self.transfer.routes())
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            async with ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
                try:
                    return await act(session)
                finally:
                    await session.close()
                    await runner.cleanup()

        return run_apart(run())

    def upload(self, name, data):
        async def act(session):
            async with session.post("/files/upload", params={"name": name}, data=data) as answer:
                return answer.status, await answer.text()

        return self.visit(act)


@pytest.fixture
def bench(tmp_path):
    return TransferBench(tmp_path)


def test_an_upload_arrives_whole_under_its_name_and_leaves_nothing_behind(bench):
    assert bench.upload("brain é.nii.gz", b"x" * 1000) == (200, "")
    assert bench.received == [("brain é.nii.gz", b"x" * 1000)]
    assert list(bench.folder.iterdir()) == []


def test_a_path_in_the_name_counts_for_nothing(bench):
    assert bench.upload("../../etc/brain.nii", b"x")[0] == 200
    assert bench.upload("C:\\data\\brain.nii", b"x")[0] == 200
    assert [name for name, _ in bench.received] == ["brain.nii", "brain.nii"]


@pytest.mark.parametrize("name", ["", "brain.txt", "brain", "nii", "..", "brain.exe"])
def test_what_cannot_be_opened_is_not_taken(bench, name):
    status, text = bench.upload(name, b"x")
    assert status == 400
    assert "cannot be opened" in text
    assert bench.received == []


def test_too_large_is_refused_by_its_announced_size_before_anything_is_read(tmp_path):
    bench = TransferBench(tmp_path, largest=MAX_UPLOAD_BYTES)

    async def act(session):
        host = session._base_url
        reader, writer = await asyncio.open_connection(host.host, host.port)
        head = f"POST /files/upload?name=a.nii HTTP/1.1\r\nHost: x\r\nContent-Length: {5 * 10**9}\r\n\r\n"
        writer.write(head.encode())
        status = await reader.readline()
        writer.close()
        return status

    assert b"413" in bench.visit(act)
    assert list(bench.folder.iterdir()) == []


def test_too_large_is_refused_while_it_comes_where_no_size_was_announced(bench):
    async def pieces():
        for _ in range(11):
            yield b"x" * 100

    status, text = bench.upload("a.nii", pieces())
    assert status == 413
    assert "too large to upload; at most 1 kB" in text
    assert bench.received == []
    assert list(bench.folder.iterdir()) == []


def test_a_file_that_turns_out_unreadable_is_reported_in_the_answer(bench):
    bench.problem = "a.nii cannot be read"
    assert bench.upload("a.nii", b"x") == (400, "a.nii cannot be read.")
    assert list(bench.folder.iterdir()) == []


def test_saved_files_are_fetched_until_others_are_offered(bench):
    path, methods = bench.transfer.temp_path("mask é.nii.gz"), bench.transfer.temp_path("mask.json")
    path.write_bytes(b"mask" * 1000)
    methods.write_text("{}", encoding="utf-8")
    addresses = bench.transfer.offer([path, methods])

    async def act(session):
        found = []
        for address in (*addresses, addresses[0]):
            async with session.get(address) as answer:
                found.append((await answer.read(), answer.headers["Content-Disposition"]))
        bench.transfer.offer([])
        async with session.get(addresses[0]) as answer:
            return found, answer.status

    found, status = bench.visit(act)
    mask = b"mask" * 1000, "attachment; filename*=UTF-8''mask%20%C3%A9.nii.gz"
    assert found == [mask, (b"{}", "attachment; filename*=UTF-8''mask.json"), mask]
    assert status == 404
    assert list(bench.folder.iterdir()) == []


def send_together(bench, files, **changed):
    """Files as one batch, one after the other; the last answer."""

    async def act(session):
        for number, (name, data) in enumerate(files):
            params = {"name": name, "batch": "0123456789abcdef", "left": str(len(files) - 1 - number)} | changed
            async with session.post("/files/upload", params=params, data=data) as answer:
                last = answer.status, await answer.text()
        return last

    return bench.visit(act)


def test_files_that_are_sent_together_arrive_as_a_folder_and_leave_nothing(bench):
    seen = {}

    async def take(folder, name):
        seen[name] = sorted((one.name, one.read_bytes()) for one in folder.iterdir())

    bench.transfer._on_received = take
    assert send_together(bench, [("IM1", b"a"), ("IM2", b"bb"), ("IM1", b"c")]) == (200, "")
    assert seen == {"3 files": [("3 IM1", b"c"), ("IM1", b"a"), ("IM2", b"bb")]}
    assert list(bench.folder.iterdir()) == []


def test_files_that_are_sent_together_count_together(bench):
    status, text = send_together(bench, [("IM1", b"x" * 600), ("IM2", b"x" * 600)])
    assert (status, bench.received) == (413, [])
    assert "too large" in text
    assert list(bench.folder.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"batch": "../../x"}, {"batch": "x"}, {"left": "-1"}, {"name": ""}])
def test_a_part_that_no_page_of_ours_sends_is_refused(bench, wrong):
    assert send_together(bench, [("IM1", b"a")], **wrong)[0] == 400
    assert bench.received == []
