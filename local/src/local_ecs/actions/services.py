"""CreateService, UpdateService, DeleteService, DescribeServices, ListServices."""

from __future__ import annotations

from dataclasses import replace

from local_ecs import scheduler
from local_ecs.actions.context import Context, page, remember_tags, wants_tags, with_tags
from local_ecs.errors import ClientError, InvalidParameterError
from local_ecs.model import JsonObject, RolloutPolicy, Service, ServiceKey, ServiceStatus
from local_ecs.request import Request
from local_ecs.state import short_name
from local_ecs.wire import failure_json, service_json

MAX_DESCRIBED = 10
MAX_DESIRED = 5000  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html
GIVEN_BACK = (  # members that are stored and shown, and change nothing here
    "availabilityZoneRebalancing",
    "capacityProviderStrategy",
    "deploymentController",
    "enableECSManagedTags",
    "enableExecuteCommand",
    "healthCheckGracePeriodSeconds",
    "loadBalancers",
    "networkConfiguration",
    "placementConstraints",
    "placementStrategy",
    "platformVersion",
    "propagateTags",
    "serviceRegistries",
)


def create_service(context: Context, request: Request) -> JsonObject:
    """Create a service; the very same request again returns the service that is there."""
    state = context.state
    cluster = state.cluster(request.text("cluster"))
    key = ServiceKey(cluster.name, request.required_text("serviceName"))
    definition = state.definition(request.required_text("taskDefinition"))
    desired = request.number("desiredCount", 0, at_least=0, at_most=MAX_DESIRED)
    if request.text("schedulingStrategy") not in {None, "REPLICA"}:
        raise InvalidParameterError("local_ecs plays the scheduling strategy REPLICA only.")
    present = state.services.get(key)
    if present is not None and present.status is ServiceStatus.DRAINING:
        raise InvalidParameterError("Unable to Start a service that is still Draining.")
    if present is not None and present.status is ServiceStatus.ACTIVE:
        is_same = present.primary.definition.arn == definition.arn and present.desired_count == desired
        if not is_same:
            raise InvalidParameterError("Creation of service was not idempotent.")
        return {"service": _describe(context, present, request)}
    service = Service(
        key=key,
        arn=state.arns.of("service", f"{key.cluster}/{key.name}"),
        desired_count=desired,
        deployments=(context.engine.new_deployment(definition),),
        created_at=context.engine.clock.now(),
        launch_type=request.text("launchType") or "FARGATE",
        rollout=_rollout(request, RolloutPolicy()),
        document=_given_back(request),
    )
    state.services[key] = service
    remember_tags(context, service.arn, request)
    context.engine.tick()
    return {"service": _describe(context, state.services[key], request)}


def update_service(context: Context, request: Request) -> JsonObject:
    """Change the count, the definition or both; a new definition or ``forceNewDeployment`` deploys."""
    state, engine = context.state, context.engine
    cluster = state.cluster(request.text("cluster"))
    service = state.service(cluster, request.required_text("service"))
    desired = request.number("desiredCount", service.desired_count, at_least=0, at_most=MAX_DESIRED)
    changed = replace(
        service,
        desired_count=desired,
        rollout=_rollout(request, service.rollout),
        document={**service.document, **_given_back(request)},
    )
    if desired != service.desired_count:
        changed = replace(changed, is_steady=False, told_blocked=0)
    name = request.text("taskDefinition")
    definition = service.primary.definition if name is None else state.definition(name)
    if definition.arn != service.primary.definition.arn or request.flag("forceNewDeployment"):
        deployment_id = engine.new_deployment_id()
        changed = scheduler.deploy(changed, definition, deployment_id=deployment_id, now=engine.clock.now())
    state.services[service.key] = changed
    engine.tick()
    return {"service": _describe(context, state.services[service.key], request)}


def delete_service(context: Context, request: Request) -> JsonObject:
    """Delete a service: its tasks end, protected or not, and it stays describable as INACTIVE."""
    state = context.state
    cluster = state.cluster(request.text("cluster"))
    service = state.service(cluster, request.required_text("service"))
    if service.desired_count > 0 and not request.flag("force"):
        raise InvalidParameterError("The service cannot be stopped while it is scaled above 0.")
    state.services[service.key] = replace(service, desired_count=0, status=ServiceStatus.DRAINING)
    context.engine.tick()
    return {"service": _describe(context, state.services[service.key], request)}


def describe_services(context: Context, request: Request) -> JsonObject:
    """Describe up to ten services; unknown ones are failures."""
    cluster = context.state.cluster(request.text("cluster"))
    found, failures = [], []
    for name in request.required_texts("services", at_most=MAX_DESCRIBED):
        key = ServiceKey(cluster.name, short_name(name))
        service = context.state.services.get(key)
        if service is None:
            arn = context.state.arns.of("service", f"{key.cluster}/{key.name}")
            failures.append(failure_json(arn, "MISSING"))
        else:
            found.append(_describe(context, service, request))
    return {"services": found, "failures": failures}


def list_services(context: Context, request: Request) -> JsonObject:
    """List the ARNs of a cluster's services."""
    cluster = context.state.cluster(request.text("cluster"))
    wanted = request.text("launchType")
    arns = [
        service.arn
        for service in context.state.services.values()
        if service.key.cluster == cluster.name
        and service.status is not ServiceStatus.INACTIVE
        and wanted in {None, service.launch_type}
    ]
    return page(request, arns, member="serviceArns", default=10)


def _describe(context: Context, service: Service, request: Request) -> JsonObject:
    own = [task for task in context.state.live.values() if task.service_key == service.key]
    document = service_json(service, own, context.state)
    return with_tags(context, service.arn, document) if wants_tags(request) else document


def _given_back(request: Request) -> JsonObject:
    return {name: request.document[name] for name in GIVEN_BACK if request.has(name)}


def _rollout(request: Request, now: RolloutPolicy) -> RolloutPolicy:
    document = request.object("deploymentConfiguration")
    breaker = document.object("deploymentCircuitBreaker")
    minimum, maximum = now.minimum_healthy_percent, now.maximum_percent
    policy = RolloutPolicy(
        minimum_healthy_percent=document.number("minimumHealthyPercent", minimum, at_least=0, at_most=100),
        maximum_percent=document.number("maximumPercent", maximum, at_least=100, at_most=1000),
        circuit_breaker=breaker.flag("enable", default=now.circuit_breaker),
        roll_back=breaker.flag("rollback", default=now.roll_back),
    )
    if policy.roll_back and not policy.circuit_breaker:
        raise ClientError("deploymentCircuitBreaker: rollback needs enable.")
    return policy
