"""Opening and saving as a person does it, through the dialogs.

Playwright's own process takes names of files as UTF-8, whatever the locale is.
"""

import os
from pathlib import Path

from NeuroSAM2Web.ui.file_dialogs import CHOOSER


def open_file(visit, path):
    """Through the list of the folder that the app was started in."""
    visit.page.get_by_role("button", name="Open Ctrl+O").click()
    visit.page.locator(f'[data-file="{path.name}"]').click()


def upload(visit, path):
    visit.page.get_by_role("button", name="Open Ctrl+O").click()
    content = {"name": path.name, "mimeType": "application/octet-stream", "buffer": path.read_bytes()}
    visit.page.set_input_files(f"#{CHOOSER}", content)


def wait_volume(visit, name):
    """Until a volume of that name is worked on."""
    visit.page.wait_for_function(
        "name => trame.state.get('volumes').some(one => one.title === name && one.value === trame.state.get('volume'))",
        arg=name,
    )
    visit.wait_quiet()


def choose_target(visit, words):
    visit.page.get_by_role("button", name="Save Ctrl+S").click()
    card = visit.page.locator("[data-test=save]")
    card.locator(".v-select").click()
    visit.page.get_by_role("option", name=words).click()
    return card


def save(visit, words, name):
    """Into the folder that the app was started in; returns the path."""
    card = choose_target(visit, words)
    card.get_by_label("File name").fill(name)
    card.get_by_role("button", name="Save into the folder").click()
    visit.page.wait_for_function("name => trame.state.get('files_said').includes(name)", arg=name)
    visit.page.evaluate("trame.state.set('files_said', '')")
    card.wait_for(state="hidden")
    return Path(visit.state("save_folder")) / name


def download(visit, words, folder):
    """To the browser; returns the paths of what came."""
    card = choose_target(visit, words)
    card.get_by_role("button", name="Download").click()
    visit.page.wait_for_function("trame.state.get('save_links').length > 0")
    found = []
    for number in range(len(visit.state("save_links"))):
        with visit.page.expect_download() as coming:
            card.locator("[data-test=link]").nth(number).click()
        found.append(folder / coming.value.suggested_filename)
        coming.value.save_as(os.fsencode(found[-1]).decode())
    card.get_by_role("button", name="Cancel").click()
    card.wait_for(state="hidden")
    return found


def wait_problem(visit, words):
    """Until a sentence with these words is shown; then it is closed."""
    visit.page.wait_for_function("words => trame.state.get('files_problem').includes(words)", arg=words)
    visit.page.locator(".v-snackbar", has_text=words).get_by_role("button", name="Close").click()
    visit.page.wait_for_function("trame.state.get('files_problem') === ''")
