"""What the training panel looks like."""

from collections.abc import Callable

from NeuroSAM2Lib.training.run import ADAPTATIONS, EXPERT, PRESETS
from trame.widgets import html
from trame.widgets import vuetify3 as v3

from NeuroSAM2Web.ui.file_dialogs import build_folder_chooser
from NeuroSAM2Web.ui.train_panel import TrainPanel
from NeuroSAM2Web.ui.widgets import choices, curves, key_button, progress, section, switch

FIELD = {"density": "compact", "variant": "outlined", "hide_details": True, "classes": "mb-3"}
VERDICT_PICTURE = "Dice of every held-out case before and after"
ROLES = {"training": "to train on", "validation": "to check while training", "test": "to compare models on"}
PARTS = {
    "decoder": ("decoder", "How an outline is drawn from clicks"),
    "memory": ("memory", "How an outline is carried from slice to slice"),
    "neck": ("neck", "How image features are brought together"),
    "trunk": ("encoder", "How images are read. Takes most memory."),
}


def build_train_form(panel: TrainPanel) -> None:
    """All of it, from the state line down."""
    with v3.VAlert(
        variant="tonal",
        density="compact",
        type="info",
        icon="mdi-information-outline",
        classes="ns-line mb-3",
        raw_attrs=['role="status"', 'data-test="train-line"'],
    ):
        html.Span("{{ train_sentence }}")
    html.Div(
        "{{ one }}",
        v_for="one in train_warnings",
        key="one",
        classes="ns-verdict mb-2",
        style=("train_warning_colours",),
        raw_attrs=['role="status"', 'data-test="train-warning"'],
    )
    _cases(panel)
    _settings(panel)
    _samples(panel)
    _run(panel)
    _comparison(panel)
    _large_picture(panel)
    build_folder_chooser(panel.chooser)


def _cases(panel: TrainPanel) -> None:
    section("Annotated cases")
    html.Div("No cases yet.", v_if="!train_cases.length", classes="ns-hint mb-2")
    with (
        v3.VList(
            v_if="train_cases.length", density="compact", classes="py-0 mb-2 ns-objects", border=True, rounded=True
        ),
        v3.VListItem(
            v_for="(row, n) in train_cases",
            key="row.name",
            title=("row.name",),
            subtitle=("row.files ? row.role + ', ' + row.files : row.role",),
            active=("train_chosen === n",),
            click="train_chosen = train_chosen === n ? -1 : n",
            color="primary",
            raw_attrs=[':data-case="row.name"', ':data-role="row.role"', ':aria-current="train_chosen === n"'],
        ),
    ):
        pass
    v3.VSelect(items=("train_roles", choices(ROLES)), v_model=("train_role",), label="Next case is", **FIELD)
    with html.Div(classes="ns-row"):
        key_button(
            "Add current case",
            tip="Put the volume and its outlines on the list",
            click=panel.add_current,
            icon="mdi-plus",
        )
        key_button(
            "Remove",
            tip="Take the chosen case off the list. Its files stay.",
            click=panel.remove,
            disabled=("train_chosen < 0",),
        )
    with (
        v3.VExpansionPanels(variant="accordion", flat=True, classes="mb-3"),
        v3.VExpansionPanel(title="Cases from a folder"),
        v3.VExpansionPanelText(),
    ):
        html.Div("A dataset.json, BIDS derivatives, or images and labels of the same names.", classes="ns-hint mb-2")
        with html.Div(classes="d-flex ga-1 align-start"):
            v3.VTextField(
                v_model=("train_source",),
                label="Folder with annotated volumes",
                raw_attrs=['data-test="train-source"'],
                **FIELD,
            )
            _browse(panel.browse_source)
        key_button("Add them", click=panel.add_folder, disabled=("!train_source",))
        html.Div("Cases, runs and results are kept here; nothing leaves this computer.", classes="ns-hint mt-4 mb-2")
        with html.Div(classes="d-flex ga-1 align-start"):
            v3.VTextField(
                v_model=("train_folder",),
                label="Project folder",
                change=panel.open_folder,
                raw_attrs=['data-test="train-folder"'],
                **FIELD,
            )
            _browse(panel.browse_project)


def _browse(choose: Callable[[], None]) -> None:
    v3.VBtn(
        icon="mdi-folder-open-outline",
        size="small",
        variant="tonal",
        title="Browse",
        click=choose,
        raw_attrs=['data-test="browse-button"'],
    )


def _settings(panel: TrainPanel) -> None:
    section("Train")
    with html.Div(classes="d-flex ga-2 mt-3"):
        v3.VSelect(items=("train_models",), v_model=("train_model",), label="Start from", **FIELD)
        v3.VTextField(
            model_value=("train_steps",),
            update_modelValue=(panel.set_steps, "[$event]"),
            label="Steps",
            type="number",
            min=1,
            raw_attrs=['title="How long. A few hundred are enough for a few cases."', 'data-test="train-steps"'],
            style="max-width: 110px",
            **FIELD,
        )
    titles = [{"title": title, "value": n} for n, title in enumerate([*(one.title for one in ADAPTATIONS), EXPERT])]
    v3.VSelect(
        items=("train_adaptations", titles),
        model_value=("train_adapt",),
        update_modelValue=(panel.adapt, "[$event]"),
        label="Adapt",
        raw_attrs=['title="The more is adapted, the more cases and memory it takes"'],
        **FIELD,
    )
    with (
        v3.VExpansionPanels(variant="accordion", flat=True, classes="mb-3"),
        v3.VExpansionPanel(title="For experts"),
        v3.VExpansionPanelText(),
    ):
        _expert(panel)


def _expert(panel: TrainPanel) -> None:
    v3.VSelect(items=("train_presets", list(PRESETS)), v_model=("train_preset",), label="Preset", **FIELD)
    with html.Div(classes="d-flex flex-wrap mb-2"):
        for part, (title, tip) in PARTS.items():
            v3.VCheckbox(
                model_value=("train_parts",),
                update_modelValue=(panel.set_parts, "[$event]"),
                value=part,
                label=title,
                density="compact",
                hide_details=True,
                raw_attrs=[f'title="{tip}"'],
            )
    v3.VTextField(
        model_value=("train_rank",),
        update_modelValue=(panel.set_rank, "[$event]"),
        label="LoRA rank, 0 for none",
        type="number",
        min=0,
        **FIELD,
    )
    v3.VTextarea(
        v_model=("train_settings",),
        label="Settings, one on a line",
        placeholder="losses.focal = 10",
        rows=3,
        raw_attrs=['data-test="train-settings"'],
        **FIELD,
    )


def _samples(panel: TrainPanel) -> None:
    key_button(
        "Check cases",
        tip="Check every case, and draw some clips as training will see them. Nothing is trained.",
        click=panel.validate_dataset,
        disabled=("!train_can_validate",),
        classes="w-100 mb-2",
    )
    html.Pre("{{ train_report }}", v_if="train_report", classes="ns-log mb-2", raw_attrs=['data-test="report"'])
    with html.Div(v_if="train_sample", classes="mb-3"):
        with html.Button(
            type="button",
            classes="ns-picture",
            click="train_large = 'sample'",
            title="Open large",
            raw_attrs=['data-test="open-sample"'],
        ):
            html.Img(src=("train_sample.src",), raw_attrs=[':alt="train_sample.caption"'])
        with html.Div(classes="d-flex align-center justify-space-between"):
            for icon, step, tip in (
                ("mdi-chevron-left", -1, "The clip before"),
                ("mdi-chevron-right", 1, "The next clip"),
            ):
                if step > 0:
                    html.Span("{{ train_sample.caption }}", classes="text-caption", raw_attrs=['data-test="sample"'])
                v3.VBtn(icon=icon, size="x-small", variant="text", title=tip, click=(panel.turn, f"[{step}]"))


def _large_picture(panel: TrainPanel) -> None:
    """A sample with the ones before and after it, or the picture of a verdict, as large as the page."""
    with (
        v3.VDialog(model_value=("!!train_large",), update_modelValue="train_large = ''", width="min(1400px, 96vw)"),
        v3.VCard(raw_attrs=['data-test="large"']),
    ):
        html.Img(
            v_if="train_large === 'sample' && train_sample",
            src=("train_sample.src",),
            classes="ns-large-picture",
            raw_attrs=[':alt="train_sample.caption"'],
        )
        html.Img(
            v_if="train_large === 'verdict' && train_verdict",
            src=("train_verdict.picture",),
            classes="ns-large-picture",
            raw_attrs=[f'alt="{VERDICT_PICTURE}"'],
        )
        with v3.VCardActions():
            with html.Template(v_if="train_large === 'sample' && train_sample"):
                v3.VBtn("Before", prepend_icon="mdi-chevron-left", click=(panel.turn, "[-1]"), title="The clip before")
                html.Span("{{ train_sample.caption }}", classes="text-body-2", raw_attrs=['role="status"'])
                v3.VBtn("Next", append_icon="mdi-chevron-right", click=(panel.turn, "[1]"), title="The next clip")
            v3.VSpacer()
            v3.VBtn("Close", click="train_large = ''", color="primary")


def _run(panel: TrainPanel) -> None:
    html.Div("{{ train_estimate }}", classes="ns-hint mb-2", raw_attrs=['data-test="estimate"'])
    with html.Div(classes="ns-row"):
        key_button(
            "Start",
            tip="Train in the background. You can go on segmenting.",
            click=panel.start,
            disabled=("!train_can_start",),
            color="primary",
            variant="flat",
        )
        key_button(
            "Stop",
            tip="Save and stop after this step",
            click=panel.does(lambda controller: controller.stop()),
            disabled=("!train_can_stop",),
        )
        key_button(
            "Continue",
            tip="Go on exactly where the run was stopped",
            click=panel.does(lambda controller: controller.resume()),
            disabled=("!train_can_continue",),
        )
    with html.Div(v_if="train_is_running", classes="mb-3", raw_attrs=['role="status"', ':data-step="train_step"']):
        progress("100 * train_step / Math.max(1, train_num_steps)", is_unknown="train_step === 0")
        html.Div("{{ train_pace }}", classes="text-caption mt-1")
    with html.Div(v_if="train_curves", classes="mb-2"):
        curves(drawing=("train_curves",))
        with html.Div(classes="ns-legend"):
            html.Span('<i style="background: var(--ns-loss)"></i>loss {{ train_curves.last_loss }}')
            html.Span(
                '<i style="background: var(--ns-dice)"></i>Dice on checked cases {{ train_curves.last_dice }}',
                v_if="train_curves.dice",
            )
    switch("Log", model_value=("train_has_log",), update_modelValue=(panel.show_log, "[$event]"))
    html.Pre("{{ train_log }}", v_if="train_has_log", classes="ns-log mb-3")


def _comparison(panel: TrainPanel) -> None:
    section("Does it help?")
    key_button(
        "Compare on held-out cases",
        tip="Measure the model before and the new one on the cases that were not trained on",
        click=panel.does(lambda controller: controller.compare()),
        disabled=("!train_can_compare",),
        classes="w-100 mb-2",
    )
    with html.Div(v_if="train_verdict", classes="mb-2"):
        html.Div(
            "{{ train_verdict.sentence }}",
            classes="ns-verdict",
            style=("train_verdict.colours",),
            raw_attrs=['role="status"', 'data-test="verdict"'],
        )
        html.Div("{{ train_verdict.detail }}", classes="ns-hint my-1")
        with html.Button(
            type="button",
            v_if="train_verdict.picture",
            classes="ns-picture",
            click="train_large = 'verdict'",
            title="Open large",
        ):
            html.Img(src=("train_verdict.picture",), raw_attrs=[f'alt="{VERDICT_PICTURE}"'])
    with v3.VTable(v_if="train_comparison.length", density="compact", classes="ns-comparison mb-2"):
        with html.Thead(), html.Tr():
            for title in ("On held-out cases", "Before", "After"):
                html.Th(title)
        with (
            html.Tbody(),
            html.Tr(v_for="row in train_comparison", key="row.what", raw_attrs=['data-test="comparison"']),
        ):
            html.Td("{{ row.what }}")
            html.Td("{{ row.before }}")
            html.Td("{{ row.after }}")
    with html.Div(classes="ns-row"):
        key_button(
            "Use new model",
            tip="Let the new model outline from now on",
            click=panel.use_new_model,
            disabled=("!train_can_promote",),
        )
        key_button(
            "Back",
            tip="Return to the model before",
            click=panel.does(lambda controller: controller.roll_back()),
            disabled=("!train_can_roll_back",),
        )
