"""What the engine panel looks like."""

from NeuroSAM2Lib.engine.choice import Place
from trame.widgets import html
from trame.widgets import vuetify3 as v3

from NeuroSAM2Web.ui.engine_panel import DEVICE_TITLES, OWN_FILE, PLACES, EnginePanel
from NeuroSAM2Web.ui.widgets import choices, section


def build_engine_form(panel: EnginePanel) -> None:
    """All of it."""
    attributes = {"density": "compact", "variant": "outlined", "classes": "mb-3", "hide_details": True}
    section("Model")
    v3.VSelect(items=("model_titles",), v_model=("engine_model",), label="Model", **attributes)
    v3.VTextField(
        v_if=f"engine_model === '{OWN_FILE}'", v_model=("engine_file",), label="Model file (.safetensors)", **attributes
    )
    v3.VSelect(
        items=("device_titles", choices(DEVICE_TITLES)), v_model=("engine_device",), label="Device", **attributes
    )
    section("Where it runs")
    places = choices({place.value: title for place, title in PLACES.items()})
    v3.VSelect(items=("place_titles", places), v_model=("engine_place",), label="Runs on", **attributes)
    with html.Div(v_if=f"engine_place === '{Place.REMOTE.value}'"):
        html.Div("Start `neurosam2 serve` there. It prints the port and the token.", classes="ns-hint mb-3")
        v3.VTextField(v_model=("engine_host",), label="Server", **attributes)
        v3.VTextField(v_model=("engine_port",), label="Port", type="number", **attributes)
        v3.VTextField(v_model=("engine_token",), label="Token", type="password", autocomplete="off", **attributes)
    with html.Div(classes="ns-row"):
        v3.VBtn(
            "Use",
            click=panel.use,
            color="primary",
            variant="flat",
            size="small",
            title="Use this engine from now on. Your clicks and outlines stay.",
        )
        v3.VBtn(
            "{{ is_testing ? 'Cancel test' : 'Test' }}",
            click=panel.test,
            variant="tonal",
            size="small",
            title="Try this engine on a small image, and say what works and how fast",
        )
        v3.VBtn(
            "Cancel download",
            v_if="is_downloading",
            click=panel.cancel_download,
            variant="tonal",
            size="small",
            title="Stop the download. What has come is kept for the next time.",
        )
    v3.VProgressLinear(v_if="is_testing || is_downloading", indeterminate=True, color="primary", classes="mb-2")
    html.Div("{{ engine_sentence }}", classes="text-body-2", raw_attrs=['role="status"', 'data-test="engine"'])
