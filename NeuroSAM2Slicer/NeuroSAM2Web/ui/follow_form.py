"""What carrying over from an earlier scan looks like: a dialog to choose it, and a bar below the views while the person looks."""

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from NeuroSAM2Web.ui.follow_panel import FollowPanel
from NeuroSAM2Web.ui.widgets import progress

WIDTH_PX = 520
BAR = "position: fixed; bottom: 16px; left: 50%; transform: translateX(-50%); z-index: 2000; width: min(640px, 96vw)"


def build_follow(panel: FollowPanel) -> None:
    """Both."""
    with (
        v3.VDialog(v_model=("follow_opens",), max_width=WIDTH_PX),
        v3.VCard(title="Carry over from an earlier scan", raw_attrs=['data-test="follow"']),
    ):
        with v3.VCardText():
            html.P(
                "The earlier scan of the same person is registered with the one that is open. You see the result before it is used; "
                "then the objects become boxes on few slices, and the model outlines them anew.",
                classes="mb-4",
            )
            v3.VSelect(
                v_model=("follow_scan",),
                items=("follow_scans",),
                label="Earlier scan and what is outlined on it",
                density="compact",
                variant="outlined",
                hide_details=True,
            )
            html.Div(
                "Nothing is outlined on another image: open the earlier scan and its label map first.",
                v_if="!follow_scans.length",
                classes="ns-hint mt-2",
            )
        with v3.VCardActions():
            v3.VSpacer()
            v3.VBtn("Cancel", click="follow_opens = false")
            v3.VBtn("Register", click=panel.begin, disabled=("!follow_scan",), color="primary", variant="flat")
    with v3.VCard(
        v_if="follow_phase !== 'idle'", style=BAR, elevation=8, raw_attrs=['data-test="follow-bar"', 'role="status"']
    ):
        v3.VCardText("{{ follow_sentence }}", classes="pb-1")
        with html.Div(v_if="follow_phase === 'registering'", classes="px-4"):
            progress("follow_percent", is_unknown="follow_percent === 0")
        with v3.VCardActions():
            v3.VSpacer()
            v3.VBtn("Cancel", click=panel.cancel)
            v3.VBtn("Use", v_if="follow_phase === 'review'", click=panel.use, color="primary", variant="flat")
