"""The session: what a person presses, from wherever, moves it on; one episode after another.

    idle ─start─▶ countdown ─▶ recording ─success, failure─▶ saving ─▶ reset ─▶ idle
                                   └─rerecord─▶ reset ─▶ countdown

The arm follows the device throughout, except while an episode is saved, the arm goes home, a person puts things back
around it, or somebody paused it.
"""

from __future__ import annotations

from ...robot.clock import RealClock
from ...robot.errors import GuardFault
from ...robot.loop import ControlLoop
from ...robot.types import Applied, Observation, Step
from ..stopping import deferred
from .cell import Cell
from .desk import Desk
from .episode import Episode
from .hands import Hands
from .harvest import Harvest
from .plan import Plan
from .rates import Rates
from .showing import Showing
from .takes import Takes
from .tally import Tally

FOREVER_NS = 2**62
POLL_NS = 20_000_000
JUDGE_EVERY = 3  # steps between two looks at whether the task is done
# Of the guard's acts: keys begin and end motions at once, and a grasp is meant.
# What is rejected in a stop is told by the guard's mode.
QUIET = ("acceleration", "jerk", "expired", "gripper_force", "gripper_hold")
REJECTED = ("rejected_expired", "rejected_heartbeat", "rejected_estop", "rejected_fault")
LATCHED = ("fault", "estop")
TELEOP = ("pause", "takeover", "rerecord", "estop", "rearm", "quit")  # without a recording


class Session:
    """Runs `plan` in `cell` for whoever sits at `desk`; all of them are open, and closed by whoever opened them."""

    def __init__(self, plan: Plan, cell: Cell, desk: Desk, takes: Takes, tally: Tally) -> None:
        self._plan = plan
        self._cell = cell
        self._desk = desk
        self._hand = desk.hand
        self._takes = takes
        self.tally = tally
        self.state = "idle"
        self._wall = RealClock()
        self._period_ns = round(1e9 / cell.rig.control_hz)
        fps = {name: cell.rig.cameras[name].fps for name in plan.cameras}
        self._rates = Rates(self._period_ns, fps, plan.timed)
        self._hands = Hands(plan, cell, desk.hand)
        self._seed = plan.seed
        self._over = self._turn = False  # the session; this scene
        self._again = False  # the scene that comes is recorded at once
        self._verdict: tuple[bool | None, str, str] | None = None  # success, who judged, why it ended
        self._due_ns = self._counted = 0  # of the countdown: its end (robot's clock), the number told last
        self._episode = Episode(plan, cell, desk.hand.name)
        self._looks = 0
        self._asked_quit = False
        self._harvest = Harvest(takes, tally, desk)
        self._showing = Showing(plan, cell, desk, self._rates, tally, self.controls)

    @property
    def saved(self) -> int:
        """Episodes of this session that are in the dataset."""
        return self._harvest.saved

    @property
    def trouble(self) -> str:
        """What went wrong with the last episode, "" = nothing."""
        return self._harvest.trouble

    @property
    def controls(self) -> tuple[str, ...]:
        """Controls that mean something here."""
        if not self._plan.records:
            known = TELEOP
        else:
            known = ("start", "success", "failure", "rerecord", "discard", "note", *TELEOP)
        return tuple(c for c in dict.fromkeys(known) if c != "takeover" or self._plan.policy is not None)

    def run(self) -> None:
        """Until the person quits, the plan is fulfilled, or something raises. A running episode is not lost."""
        try:
            while not self._over:
                if self._set_up():
                    self._scene()
        except BaseException:
            if self.state == "recording":
                with deferred():
                    rates, _ = self._rates.found()
                    self._takes.end(None, {"rates": rates, "judged_by": "nobody", "ended": "interrupted"})
                    self._keep(None)
            raise

    # ---------------------------------------------------------------- scenes

    def _set_up(self) -> bool:
        """Objects and arm as an episode begins; False when that was broken off."""
        self.state = "reset"
        self._tell("the arm goes home", spoken="reset" if self.saved else "")
        if not self._cell.begin(self._seed, self._poll):
            self._stand()
            return False
        self._rates.restart()
        self._desk.forget_clamps()
        self._hands.begin()
        self._turn, self._verdict, self._showing.done = False, None, None
        self.state = "idle"
        if self._plan.records and not self._cell.places:
            self.state = "reset"
            self._hands.ignore()
            self._tell(
                "put everything in its place, hands out of the way, then start", spoken="put things back"
            )
        elif self._plan.records:
            take = "take the leader; " if self._hand.mirrors else ""
            trouble = self._harvest.trouble
            unsaved = f"; the last one: {trouble}" if trouble else ""
            self._tell(f"{take}Enter starts an episode{unsaved}")
        else:
            self._tell("take the leader; p lets go of it" if self._hand.mirrors else "")
        return True

    def _scene(self) -> None:
        """Let the hand move the arm until the scene has to be set up again, or the session is over."""
        observers = (self, *([] if self._desk.page is None else [self._desk.page]))
        loop = ControlLoop(self._cell.robot, self._hands.agent, self._period_ns, observers)
        if self._again and self._cell.places:
            self._count_down(self._cell.robot.clock.now())
        self._again = False
        loop.run(FOREVER_NS, self._seed, stop=self._look)
        self._hands.stand()
        if self.state != "recording":
            return
        if self._verdict is None:
            self._verdict = None, "nobody", "quit"
        self._save(*self._verdict)

    def _save(self, success: bool | None, judge: str, ended: str) -> None:
        found = self._episode.found(self._rates, self._hands.takeover)
        info = found | {"judged_by": judge} | ({"ended": ended} if ended else {})
        self._cell.guard.hold("saving")
        self._takes.end(success, info)
        self.state = "saving"
        self._tell("saving")
        while self._takes.busy:
            self._poll()
            self._wall.sleep_until(self._wall.now() + POLL_NS)
        self._keep(success)
        if self._cell.guard.mode in LATCHED and not self._over:
            self._stand()
        if self._plan.episodes is not None and self.saved >= self._plan.episodes:
            self._over = True

    def _keep(self, success: bool | None) -> None:
        _, behind = self._rates.found()
        if self._harvest.bring_in(success, self._episode.objects_m, behind):
            self._seed += 1

    def _stand(self) -> None:
        """Wait while the guard is latched."""
        clock, guard = self._cell.robot.clock, self._cell.guard
        self.state = "stopped"
        while guard.mode in LATCHED and not self._over:
            self._showing.message = f"{guard.reason}; \\ re-arms"
            self._poll()
            clock.sleep_until(clock.now() + POLL_NS)
        self._showing.message = ""

    # ---------------------------------------------------------------- steps

    def on_step(self, step: Step) -> None:
        """As an observer of the loop."""
        if self.state == "recording":
            self._takes.on_step(step)

    def _look(self, obs: Observation, applied: Applied) -> bool:
        """The loop has observed: move on. True: the scene is over."""
        self._looks += 1
        self._takes.look()
        for control in self._pressed(obs.t_ns):
            self._press(control, obs.t_ns)
        self._pass_beat()
        self._hands.mirror(obs, applied, self.state in ("countdown", "recording"))
        if applied.mode in LATCHED:
            self._latched(obs, applied.mode)
        held = [name for name, ticks in applied.limits.items() if ticks and name not in QUIET + REJECTED]
        self._desk.feel(held, obs.t_ns)
        self._rates.look(self._wall.now(), obs)
        if self._looks % JUDGE_EVERY == 0 and (judged := self._cell.judge()) is not None:
            self._showing.done = judged[0]
        if self.state == "countdown":
            self._count(obs)
        if self.state == "recording" and (trouble := self._takes.trouble):
            self._end(None, "nobody", trouble)
        self._show(obs.t_ns)
        return self._over or self._turn

    def _latched(self, obs: Observation, mode: str) -> None:
        """Nobody's old command is waiting when the arm is re-armed."""
        self._hands.forget(self._seed)
        if self.state == "countdown":
            self.state = "idle"
        if self.state == "recording":
            self._end(None, "nobody", f"{mode}: {self._cell.guard.reason}")

    def _pass_beat(self) -> None:
        """The web hand's word to the guard's dead-man."""
        age_ns = self._desk.beat_age_ns()
        if age_ns is not None:
            self._cell.guard.heartbeat(self._cell.robot.clock.now() - age_ns)

    def _count_down(self, t_ns: int) -> None:
        self.state = "countdown"
        self._hands.listen()
        self._due_ns, self._counted = t_ns + round(self._plan.countdown_s * 1e9), 0

    def _count(self, obs: Observation) -> None:
        left = self._due_ns - obs.t_ns
        if left <= 0:
            self._begin(obs)
            return
        number = -(-left // 1_000_000_000)
        if number != self._counted:
            self._counted = number
            self._tell(f"{number} ...", spoken=str(number))

    def _begin(self, obs: Observation) -> None:
        """An episode begins with this observation."""
        self._takes.start(self._plan.text, self._episode.begin(obs.t_ns, self._seed))
        self._rates.begin()
        self._rates.restart()
        self.state = "recording"
        if self._hands.takeover is not None:
            self._hands.takeover.resume()
        self._tell("recording: y success, n failure, b begin anew", spoken="go")

    # ---------------------------------------------------------------- controls

    def _pressed(self, t_ns: int | None = None) -> list[str]:
        """What was pressed since the last look, wherever; a note that was typed is taken."""
        found = self._desk.pressed(t_ns)
        if (note := self._desk.answer()) is not None:
            self._episode.note = note
            self._tell(f"note: {note}; it goes with the next episode" if note else "no note")
        return found

    def _poll(self) -> bool:
        """Look at the controls while no hand moves the arm. True: stop what goes on."""
        for control in self._pressed():
            self._press(control, None)
        if self.state != "reset":  # the way home is nobody's hand
            self._pass_beat()
        if self._desk.due:
            self._show(None)
        return self._over or self._cell.guard.mode in LATCHED

    def _press(self, control: str, t_ns: int | None) -> None:
        """`t_ns` None: between two scenes, where only some controls act."""
        if control == "estop":
            self._cell.guard.estop("the operator's e-stop")
            self._tell("stopped; \\ re-arms", spoken="stopped")
        elif control == "rearm":
            self._rearm()
        elif control == "quit":
            self._quit()
        elif control not in self.controls:
            why = (
                "add --policy to have one to take over from"
                if control == "takeover"
                else "nothing is recorded"
            )
            self._tell(f"{control}: {why}")
        elif t_ns is not None:
            getattr(self, f"_on_{control}")(t_ns)

    def _on_start(self, t_ns: int) -> None:
        if self._cell.guard.mode in LATCHED:
            self._tell("re-arm first")
        elif self.state in ("idle", "reset"):
            self._count_down(t_ns)

    def _on_success(self, t_ns: int) -> None:
        self._end(True, "person", "")

    def _on_failure(self, t_ns: int) -> None:
        self._end(False, "person", "")

    def _on_rerecord(self, t_ns: int) -> None:
        if self.state == "recording":
            self._takes.drop()
            self._again = True
            self._tell("thrown away; again", spoken="again")
        self._again = self._again or self.state == "countdown"
        self.state, self._turn = "idle", True

    def _on_discard(self, t_ns: int) -> None:
        if self.state == "recording":
            self._tell("discard is for the last saved episode; b throws the running one away")
        elif not self.saved:
            self._tell("this session has saved nothing that could be thrown away")
        elif self._harvest.discard():
            self._rates.restart()

    def _on_note(self, t_ns: int) -> None:
        if self.state == "recording":
            self._tell(f"mark at {self._episode.mark(t_ns):.1f} s")
        elif self._desk.ask():
            self._tell("type the note, then Enter")

    def _on_pause(self, t_ns: int) -> None:
        self._hands.pause(ignored=self.state == "reset")
        paused = self._hands.paused
        self._tell("paused; p goes on" if paused else "", spoken="paused" if paused else "go on")

    def _on_takeover(self, t_ns: int) -> None:
        whose = self._hands.change()
        self._tell(f"the arm is {whose}", spoken=whose)

    def _end(self, success: bool | None, judge: str, ended: str) -> None:
        if self.state != "recording":
            return
        self._verdict, self._turn = (success, judge, ended), True
        self._desk.voice.say({True: "success", False: "failure", None: "ended"}[success])

    def _rearm(self) -> None:
        if self._cell.guard.mode not in LATCHED and not self._hand.trouble:
            return
        try:
            self._cell.guard.rearm()
            self._hand.rearm()
        except GuardFault as error:
            self._tell(str(error))
        else:
            self._asked_quit = False
            self._tell("re-armed", spoken="re-armed")

    def _quit(self) -> None:
        if self._cell.guard.mode == "estop" and self._cell.backend != "sim" and not self._asked_quit:
            self._asked_quit = True
            self._tell("hold the arm: q again lets go of it where it is; \\ re-arms, and it parks")
            return
        self._over = True

    # ---------------------------------------------------------------- shown

    def _tell(self, message: str, spoken: str = "") -> None:
        self._showing.tell(message, spoken)
        self._show(None)

    def _show(self, t_ns: int | None) -> None:
        """Now, or, with the time of a step, where it is due."""
        acting = t_ns is not None
        if acting and not self._desk.due:
            return
        elapsed = None
        if t_ns is not None and self.state == "recording":
            elapsed = (t_ns - self._episode.begun_ns) * 1e-9
        self._showing.show(self.state, self._hands, acting=acting, elapsed_s=elapsed)
