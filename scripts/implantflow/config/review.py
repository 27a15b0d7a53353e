"""How the gates of a case are passed: by signatures, or (demo and research only) by themselves."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from implantflow.config.base import Name, Section

#: The points where a person decides (docs/architecture.md).
GateName = Literal["labels", "review", "design", "release"]
Policy = Literal["auto", "signed"]


class ReviewConfig(Section):
    """Policy of the gates of one case."""

    policy: Policy = Field(
        description="'signed': every gate waits for the signatures that config/site.yaml asks for. "
        "'auto': gates pass by themselves and are marked unsigned; refused for purpose: clinical."
    )
    gates: dict[GateName, Policy] = Field(
        default={},
        description="Policy of single gates where it differs from review.policy, e.g. {review: signed}. "
        "labels: bone labels; review: a prototype iteration; design: before the build; release: to theatre.",
    )
    authors: list[Name] = Field(
        default=[],
        description="Reviewer ids (config/site.yaml) of those who made plan and design. They may sign, but a "
        "gate signed by authors alone stays closed. A clinical case must name at least one.",
    )

    def policy_of(self, gate: GateName) -> Policy:
        """The policy in force at one gate."""
        return self.gates.get(gate, self.policy)

    def clinical_problems(self) -> list[str]:
        """What in this section a clinical case may not have; empty when nothing."""
        problems = []
        automatic = sorted(gate for gate, policy in self.gates.items() if policy == "auto")
        if self.policy == "auto":
            problems.append("review.policy: a clinical case needs signatures, write 'signed'")
        if automatic:
            problems.append(
                f"review.gates: a clinical case cannot pass {', '.join(automatic)} automatically, "
                "write 'signed' or leave them out"
            )
        if not self.authors:
            problems.append(
                "review.authors: a clinical case names the reviewer ids of those who made plan and design"
            )
        return problems
