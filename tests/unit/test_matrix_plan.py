"""The nightly matrix: what is read, what runs where and why not, and jobs of an hour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from kubedrill.errors import InvalidSpec
from kubedrill.matrix import plan, table
from kubedrill.scenario import Scenario, settings
from kubedrill.spec import load

AXES = '[axes]\nkubernetes = ["1.37"]\nprovider = ["docker"]\ncontrolPlanes = [1, 3]\n'
MINUTES = "[minutes]\njob = 60\nsetup = 5\ndrill = 10\nup = { 1 = 1, 3 = 2 }\n"


def drill(name: str, **needs: Any) -> Scenario:
    return Scenario(name, "", "", lambda lab: None, {"controlPlanes": 1, "workers": 2, **needs})


def planned(drills: Sequence[Scenario], more: str = "", **arguments: Any) -> plan.Plan:
    return plan.plan(table.load(AXES + MINUTES + more, drills=[one.name for one in drills]), drills, **arguments)


class TestTable:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[axes", "at end of document"),
            (AXES, "minutes: Field required"),
            (AXES + MINUTES + 'colour = "red"', "minutes.colour: Extra inputs"),
            (AXES + MINUTES + '[[except]]\nwhere = { provder = "x" }\nwhy = "so it is now"', "did you mean 'provider'"),
            (AXES + MINUTES + '[[except]]\nwhere = { controlPlanes = 5 }\nwhy = "so it is now"', "is never 5: 1, 3"),
            (AXES + MINUTES + '[[except]]\ndrills = ["helo"]\nwhy = "so it is now"', "did you mean 'hello'"),
            (AXES + MINUTES + '[[except]]\ndrills = ["hello"]\nwhy = ""', "at least 10 characters"),
            (AXES + MINUTES + "[minutes.drills]\nhelo = 1", "minutes.drills: there is no drill 'helo'"),
            (AXES + MINUTES + '[[slower]]\nwhere = { provider = "vagrant" }\ntimes = 2', "slower: provider is never"),
            (AXES.replace("[1, 3]", "[1, 5]") + MINUTES, "how long do 5 control planes take"),
        ],
    )
    def test_what_is_wrong_with_it(self, text: str, said: str) -> None:
        with pytest.raises(InvalidSpec) as refused:
            table.load(text, drills=["hello", "drain"])
        assert said in "\n".join(refused.value.evidence)

    def test_all_of_it_at_once(self) -> None:
        with pytest.raises(InvalidSpec) as refused:
            table.load(AXES + MINUTES + "[minutes.drills]\na = 1\nb = 1", drills=["hello"])
        assert len(refused.value.evidence) == 2


class TestPlan:
    def test_each_drill_on_each_cluster_that_it_can_run_on(self) -> None:
        made = planned([drill("small"), drill("large", controlPlanes=3)])
        assert [(job.name, job.drills) for job in made.jobs] == [
            ("1.37-docker-1-1", ("small",)), ("1.37-docker-3-1", ("large", "small")),
        ]  # fmt: skip
        (left_out,) = made.skipped
        assert (left_out.drill, left_out.cell["controlPlanes"], left_out.why) == (
            "large", 1, "needs controlPlanes 3 or more",
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("needs", "why"),
        [
            ({"provider": "vagrant"}, "needs provider vagrant"),
            ({"workers": 200}, "no such cluster can be made: workers: 200 workers"),
        ],
    )
    def test_why_one_cannot_run(self, needs: dict[str, Any], why: str) -> None:
        made = planned([drill("it", **needs)])
        assert not made.jobs
        assert all(one.why.startswith(why) for one in made.skipped)
        assert len(made.skipped) == 2

    def test_exceptions(self) -> None:
        axes = AXES.replace('["docker"]', '["docker", "vagrant"]')
        text = f"""{axes}{MINUTES}
[[except]]
where = {{ provider = "vagrant" }}
spare = ["hello"]
spare-needed = true
why = "VMs are slow"
[[except]]
drills = ["hello"]
where = {{ controlPlanes = 3 }}
why = "said elsewhere"
"""
        drills = [drill("hello"), drill("other"), drill("cut", provider="vagrant")]
        read = table.load(text, drills=["hello", "other", "cut"])
        reasons = {
            (one.drill, one.cell["provider"], one.cell["controlPlanes"]): one.why
            for one in plan.plan(read, drills).skipped
        }
        assert reasons["other", "vagrant", 1] == "VMs are slow"
        assert reasons["hello", "docker", 3] == reasons["hello", "vagrant", 3] == "said elsewhere"
        assert reasons["cut", "docker", 1] == "needs provider vagrant"
        assert ("hello", "docker", 1) not in reasons
        # A spared drill still needs a cluster that can be made, whatever providers this kubedrill knows.
        for spared in ("hello", "cut"):
            assert reasons.get((spared, "vagrant", 1), "no such cluster").startswith("no such cluster")

    def test_jobs_are_not_longer_than_asked(self) -> None:
        made = planned([drill(f"d{number}") for number in range(12)])
        assert all(job.minutes <= 60 for job in made.jobs)
        assert [len(job.drills) for job in made.jobs] == [5, 5, 2, 5, 5, 2]
        assert [job.minutes for job in made.jobs][:3] == [56, 56, 26]
        for count in (1, 3):
            names = [name for job in made.jobs if job.cell["controlPlanes"] == count for name in job.drills]
            assert Counter(names) == Counter(f"d{number}" for number in range(12))
        assert len({job.name for job in made.jobs}) == 6

    def test_one_that_is_longer_than_a_job(self) -> None:
        made = planned([drill("long")], "[minutes.drills]\nlong = 55")
        assert not made.jobs
        assert made.skipped[0].why == "takes 61 minutes with its cluster, and a job has 60"

    def test_drills_that_need_another_cluster_pay_for_it(self) -> None:
        tuned = {"controllerManager": {"v": "4"}}
        (job, _) = planned([drill("a"), drill("b", workers=3), drill("c", extraArgs=tuned)]).jobs
        assert job.minutes == 5 + 3 * 10 + 2 * 1
        assert {group.drills: group.settings["workers"] for group in job.groups} == {("a", "b"): 3, ("c",): 2}

    def test_hollow_nodes_are_a_cluster_of_their_own_the_last_one(self) -> None:
        """A thousand nodes would be beside drills that are about something else."""
        made = planned([drill("a", hollow=1000), drill("b"), drill("c", hollow=50)])
        (job, _) = made.jobs
        assert [(group.drills, group.settings.get("hollow")) for group in job.groups] == [
            (("b",), None), (("c",), 50), (("a",), 1000),
        ]  # fmt: skip

    def test_what_it_takes_to_add_them_counts(self) -> None:
        text = AXES + MINUTES.replace("drill = 10", "drill = 10\nhollow = 7") + "[minutes.drills]\nlong = 48"
        drills = [drill("a", hollow=1000), drill("b"), drill("long", hollow=1000)]
        made = plan.plan(table.load(text, drills=["a", "b", "long"]), drills)
        assert [job.minutes for job in made.jobs] == [5 + 1 + 10 + 1 + 7 + 10, 5 + 2 + 10 + 2 + 7 + 10]
        assert {one.why for one in made.skipped} == {
            "takes 61 minutes with its cluster, and a job has 60", "takes 62 minutes with its cluster, and a job has 60"
        }  # fmt: skip

    def test_what_was_measured_counts_before_estimates(self) -> None:
        asked = []

        def measured(name: str, cell: table.Cell) -> float | None:
            asked.append((name, cell["controlPlanes"], cell["hollow"]))
            return 3 if cell["controlPlanes"] == 1 else None

        jobs = planned([drill("a", hollow=20)], measured=measured).jobs
        assert [job.minutes for job in jobs] == [5 + 1 + 3, 5 + 2 + 10]
        assert asked == [("a", 1, 20), ("a", 3, 20)]

    def test_margin_and_slower_places(self) -> None:
        text = AXES + MINUTES.replace("setup = 5", "margin = 1.5\nsetup = 5")
        read = table.load(text + "[[slower]]\nwhere = { controlPlanes = 3 }\ntimes = 2", drills=["a"])
        jobs = plan.plan(read, [drill("a")]).jobs
        assert [job.minutes for job in jobs] == [(5 + 1 + 10) * 1.5, 5 * 1.5 + (2 + 10) * 3]


class TestSettings:
    def test_words_and_back(self) -> None:
        found = {"controlPlanes": 3, "kubernetes": "1.36", "proxyMode": "nftables"}
        assert settings.parse(settings.words(found)) == found

    @pytest.mark.parametrize(
        ("word", "said"),
        [
            ("workers", "write KEY=VALUE"),
            ("proxymode=x", "did you mean 'proxyMode'"),
            ("name=x", "unknown"),
            ("workers=-1", "workers"),
            ("controlPlanes=three", "controlPlanes"),
            ("controlPlanes=2", "controlPlanes"),
            ("hollow=2k", "hollow"),
            ("proxyMode=foo", "'iptables'"),
            ("kubernetes=9", "Kubernetes '9' is not known"),
        ],
    )
    def test_wrong_ones(self, word: str, said: str) -> None:
        with pytest.raises(InvalidSpec) as refused:
            settings.parse(["kubernetes=1.36", word])
        assert said in refused.value.evidence[0]


class TestWithin:
    """A drill on clusters of some settings."""

    def test_it_needs_both(self) -> None:
        tuned = {"etcd": {"a": "b"}}
        made = drill("it", extraArgs=tuned).within({"kubernetes": "1.36", "controlPlanes": 3, "workers": 1})
        assert made.needs == {"kubernetes": "1.36", "controlPlanes": 3, "workers": 2, "extraArgs": tuned}
        assert made.spec("x").kubernetes == "1.36"
        assert drill("it").within({}).needs == drill("it").needs

    def test_clusters_of_other_settings_do_not_fit_it(self) -> None:
        made = drill("it").within({"proxyMode": "nftables"})
        assert made.misfits(load(None, {"name": "x"})) == ["proxyMode: iptables, needed nftables"]
        assert not made.misfits(load(None, {"name": "x", "proxyMode": "nftables"}))

    @pytest.mark.parametrize(
        ("needs", "given", "why"),
        [
            ({"controlPlanes": 3}, {"controlPlanes": 1}, ["needs controlPlanes 3 or more"]),
            ({"controlPlanes": 1}, {"controlPlanes": 3}, []),
            ({"proxyMode": "nftables"}, {"proxyMode": "iptables"}, ["needs proxyMode nftables"]),
            ({"proxyMode": "nftables"}, {"proxyMode": "nftables"}, []),
            ({}, {"proxyMode": "nftables"}, []),
        ],
    )
    def test_conflicts(self, needs: dict[str, Any], given: dict[str, Any], why: list[str]) -> None:
        assert drill("it", **needs).conflicts(given) == why
