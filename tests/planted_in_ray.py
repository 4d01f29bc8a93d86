"""Bugs planted in the pool of engine workers; see test_planted_bugs.py."""

from __future__ import annotations

from tests.planting import Plant

_TASKS, _WORKERS = "engines/ray/test_tasks.py", "engines/ray/test_workers.py"

RAY_PLANTS = [
    Plant(
        "a worker's error comes back as another class",
        "engines/ray/tasks.py",
        'kind = getattr(errors, read["error"])',
        "kind = errors.SrlmError",
        f"{_TASKS}::test_an_expected_error_comes_back_as_itself",
    ),
    Plant(
        "few requests all go to one worker",
        "engines/ray/tasks.py",
        "return min(rows, math.ceil(total / workers))",
        "return rows",
        f"{_TASKS}::test_few_requests_are_spread_over_all_workers",
    ),
    Plant(
        "prompts that begin alike are scattered over tasks",
        "engines/ray/tasks.py",
        "alike = sorted(requests, key=lambda request: json.dumps(plain_prompt(request.messages)))",
        "alike = list(requests)",
        f"{_TASKS}::test_prompts_that_begin_alike_share_a_task",
    ),
    Plant(
        "the choices of one question are scattered over tasks",
        "engines/ray/tasks.py",
        "    alike = sorted(range(len(requests)), key=context)\n",
        "    alike = list(range(len(requests)))\n",
        f"{_TASKS}::test_continuations_of_one_context_stay_together",
    ),
    Plant(
        "a task holds more draws than allowed",
        "engines/ray/tasks.py",
        "        room -= weight(item)\n",
        "        room -= 1\n",
        f"{_TASKS}::test_a_task_holds_whole_requests_and_no_more_draws_than_allowed",
    ),
    Plant(
        "stop strings are lost on the way to a worker",
        "engines/ray/tasks.py",
        'Decoding(**plain | {"stop": tuple(plain["stop"])})',
        'Decoding(**plain | {"stop": ()})',
        f"{_TASKS}::test_a_worker_sees_requests_and_decoding_as_they_were",
    ),
    Plant(
        "a task that kills its workers is tried for ever",
        "engines/ray/workers.py",
        "for _ in range(ATTEMPTS):",
        "for _ in range(10**6):",
        f"{_WORKERS}::test_a_task_that_kills_every_worker_is_given_up_and_says_so",
    ),
    Plant(
        "a dead worker's task is lost",
        "engines/ray/workers.py",
        "for _ in range(ATTEMPTS):",
        "for _ in range(1):",
        f"{_WORKERS}::test_a_dead_workers_task_goes_to_another_and_the_others_are_done",
    ),
    Plant(
        "a worker that was started again gets no more tasks",
        "engines/ray/workers.py",
        "            except _GONE:\n                self._bring_back(worker)\n",
        "            except _GONE:\n                continue\n",
        f"{_WORKERS}::test_a_worker_that_was_started_again_gets_tasks_again",
    ),
    Plant(
        "a worker whose task was given up gets no more tasks",
        "engines/ray/workers.py",
        "                self._bring_back(worker)\n                raise\n",
        "                raise\n",
        f"{_WORKERS}::test_a_worker_whose_task_was_given_up_gets_tasks_again",
    ),
    Plant(
        "tasks wait for ever when no worker can load the model",
        "engines/ray/workers.py",
        "            if not self._usable:\n                self._free.put_nowait(None)\n",
        "",
        f"{_WORKERS}::test_without_any_worker_that_loads_every_task_fails_and_none_waits_for_ever",
    ),
    Plant(
        "a worker is given tasks while it is busy",
        "engines/ray/workers.py",
        "                outcome: str = await worker.run.remote(task)\n",
        "                self._free.put_nowait(worker)\n"
        "                outcome: str = await worker.run.remote(task)\n",
        f"{_WORKERS}::test_each_task_is_done_once_and_no_worker_has_two_at_once",
    ),
]
