"""The shipped profiles, in this checkout."""

from gateway.profiles import shipped_profiles


def test_the_reviewer_profile_is_shipped_under_its_name() -> None:
    text = shipped_profiles()["reviewer-remediator"].read_text("utf-8")
    for word in ("committed", "report_only", "blocked", ".nanobot-orchestrator/reports/reviewer/"):
        assert word in text
