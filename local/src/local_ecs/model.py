"""What an ECS knows: clusters, task definitions, services, tasks. Values, all but without behaviour.

Pure: no I/O, no clock, no randomness. The rules that change these values are in ``lifecycle`` (one task),
``scheduler`` (one service) and ``protection``; ``state`` holds them all together.
Words are those of the ECS API: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeVar

JsonObject = dict[str, Any]
T = TypeVar("T")


class Dice(Protocol):
    """Where chance comes from; ``random.Random(seed)`` is one. Handed in, so that a run can be repeated."""

    def random(self) -> float:
        """Return a number in [0, 1)."""

    def sample(self, population: list[T], k: int) -> list[T]:
        """Return ``k`` different members of ``population``, every choice as likely as another."""

    def lognormvariate(self, mu: float, sigma: float) -> float:
        """Return a log-normally distributed number."""

    def getrandbits(self, k: int, /) -> int:
        """Return an integer of ``k`` random bits."""


class LastStatus(StrEnum):
    """Where a task is in its life (``Task.lastStatus``)."""

    PROVISIONING = "PROVISIONING"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    DEACTIVATING = "DEACTIVATING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"


class StopCode(StrEnum):
    """Why a task ended (``Task.stopCode``)."""

    FAILED_TO_START = "TaskFailedToStart"
    ESSENTIAL_EXITED = "EssentialContainerExited"
    USER = "UserInitiated"
    SCHEDULER = "ServiceSchedulerInitiated"
    SPOT = "SpotInterruption"


class ServiceStatus(StrEnum):
    """Whether a service is worked on (``Service.status``)."""

    ACTIVE = "ACTIVE"
    DRAINING = "DRAINING"
    INACTIVE = "INACTIVE"


class RolloutState(StrEnum):
    """How far a deployment came (``Deployment.rolloutState``)."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class ServiceKey(NamedTuple):
    """A service's identity: names are unique within a cluster only."""

    cluster: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arns:
    """How things of one account and region are named."""

    region: str = "us-east-1"
    account: str = "000000000000"

    def of(self, kind: str, path: str) -> str:
        """Return the ARN of the ``kind`` called ``path``."""
        return f"arn:aws:ecs:{self.region}:{self.account}:{kind}/{path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerDefinition:
    """One container of a task definition: what a runtime needs to start it.

    Attributes:
        stop_timeout_seconds: from SIGTERM to SIGKILL; ECS's default is 30.
        secrets: names of variables that ECS would read from a secret store.
    """

    name: str
    image: str = ""
    entry_point: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    essential: bool = True
    stop_timeout_seconds: float = 30.0
    working_directory: str | None = None
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefinition:
    """One revision of a family. ``document`` is the registered request, given back as it came."""

    arn: str
    family: str
    revision: int
    containers: tuple[ContainerDefinition, ...]
    registered_at: datetime
    document: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A name that services and tasks live under."""

    name: str
    arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container of one task. ``exit_code`` is None until it ended."""

    name: str
    image: str
    essential: bool
    last_status: LastStatus = LastStatus.PENDING
    runtime_id: str | None = None
    exit_code: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task, from RunTask or a service to an hour after its end.

    Attributes:
        wanted: what the API calls ``desiredStatus``: True is RUNNING, False is STOPPED.
        deployment_id: the deployment that started it; None for a task of no service.
        pending_due_at: when its network is ready and the pull of its images begins.
        start_due_at: when its containers are to be started.
        launched: whether the runtime was told to start it.
        address: IPv4 address of its network interface, None until it runs.
        protected_until: end of its scale-in protection; None is unprotected. See :meth:`is_protected`.
        version: grows with every change, as ``Task.version`` does.
    """

    id: str
    arn: str
    cluster: str
    definition: TaskDefinition
    containers: tuple[Container, ...]
    created_at: datetime
    pending_due_at: datetime
    start_due_at: datetime
    availability_zone: str
    group: str
    service: str | None = None
    deployment_id: str | None = None
    started_by: str | None = None
    launch_type: str = "FARGATE"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    last_status: LastStatus = LastStatus.PROVISIONING
    wanted: bool = True
    launched: bool = False
    address: str | None = None
    protected_until: datetime | None = None
    pull_started_at: datetime | None = None
    pull_stopped_at: datetime | None = None
    started_at: datetime | None = None
    stopping_at: datetime | None = None
    stopped_at: datetime | None = None
    stop_code: StopCode | None = None
    stopped_reason: str | None = None
    version: int = 1

    @property
    def service_key(self) -> ServiceKey | None:
        """The service it belongs to, None for a task started by hand."""
        return None if self.service is None else ServiceKey(self.cluster, self.service)

    @property
    def is_running(self) -> bool:
        """Whether it counts in ``runningCount``."""
        return self.last_status is LastStatus.RUNNING

    @property
    def is_starting(self) -> bool:
        """Whether it counts in ``pendingCount``."""
        return self.wanted and self.last_status in {LastStatus.PROVISIONING, LastStatus.PENDING}

    @property
    def private_dns_name(self) -> str | None:
        """The name its VPC would give its address."""
        return None if self.address is None else f"ip-{self.address.replace('.', '-')}.ec2.internal"

    def is_protected(self, now: datetime) -> bool:
        """Whether scale-in and deployments must leave it alone at ``now``."""
        return self.wanted and self.protected_until is not None and self.protected_until > now


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One roll-out of a task definition by a service. The first of ``Service.deployments`` is the PRIMARY."""

    id: str
    definition: TaskDefinition
    created_at: datetime
    updated_at: datetime
    rollout_state: RolloutState = RolloutState.IN_PROGRESS
    rollout_reason: str = "ECS deployment in progress."
    failed_tasks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEvent:
    """One line of a service's story."""

    id: str
    created_at: datetime
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPolicy:
    """How a rolling deployment may proceed (``deploymentConfiguration``), per cent of the desired count."""

    minimum_healthy_percent: int = 100
    maximum_percent: int = 200
    circuit_breaker: bool = False
    roll_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A wanted number of tasks of one definition.

    Attributes:
        events: oldest first; the API shows them newest first.
        proven: the last definition whose deployment completed: where a circuit breaker rolls back to.
        consecutive_failures: waves of tasks that failed fast, since one last stayed up.
        retry_at: no task is started before; None is at once.
        is_steady: whether "has reached a steady state" was said and nothing moved since.
        told_blocked: how many protected tasks the last "unable to scale in" spoke of; 0 is none.
        document: request members that are only given back (network configuration, load balancers ...).
    """

    key: ServiceKey
    arn: str
    desired_count: int
    deployments: tuple[Deployment, ...]
    created_at: datetime
    launch_type: str = "FARGATE"
    status: ServiceStatus = ServiceStatus.ACTIVE
    rollout: RolloutPolicy = field(default_factory=RolloutPolicy)
    events: tuple[ServiceEvent, ...] = ()
    proven: TaskDefinition | None = None
    consecutive_failures: int = 0
    last_failure_at: datetime | None = None
    retry_at: datetime | None = None
    is_steady: bool = False
    told_blocked: int = 0
    document: Mapping[str, Any] = field(default_factory=dict)

    @property
    def primary(self) -> Deployment:
        """The deployment whose definition new tasks get."""
        return self.deployments[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartDelay:
    """How long a task takes from its creation to RUNNING.

    Attributes:
        median_seconds: half of the tasks are faster.
        sigma: spread of the log-normal distribution; 0 is always ``median_seconds``.
    """

    median_seconds: float = 0.0
    sigma: float = 0.0

    def draw(self, dice: Dice) -> timedelta:
        """Return the delay of one task."""
        spread = dice.lognormvariate(0.0, self.sigma) if self.sigma else 1.0
        return timedelta(seconds=self.median_seconds * spread)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The numbers of the ECS that is played.

    Attributes:
        fast_failure_seconds: a service's task that ends by itself sooner than this after its start counts as
            a failure to start. ECS itself counts only tasks that never ran; but a process that crashes at its
            first line runs for an instant here, where ECS would still be pulling its image.
        immediate_retries: failures in a row that are replaced at once.
        backoff_base_seconds: the first pause after those; it doubles with every further failure.
        backoff_max_seconds: the longest pause; ECS's is 15 minutes
            (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-throttle-logic.html).
        stopped_kept_seconds: how long a STOPPED task can be described; ECS's is one hour.
        stopped_kept: how many of them at most, so that memory is bounded.
        events_kept: how many events a service shows; ECS's is 100.
    """

    start_delay: StartDelay = field(default_factory=StartDelay)
    availability_zones: tuple[str, ...] = ("us-east-1a", "us-east-1b", "us-east-1c")
    fast_failure_seconds: float = 10.0
    immediate_retries: int = 2
    backoff_base_seconds: float = 5.0
    backoff_max_seconds: float = 900.0
    stopped_kept_seconds: float = 3600.0
    stopped_kept: int = 5000
    events_kept: int = 100
