"""CreateCluster, DescribeClusters, ListClusters."""

from __future__ import annotations

from local_ecs.actions.context import Context, page, remember_tags, wants_tags, with_tags
from local_ecs.model import Cluster, JsonObject
from local_ecs.request import Request
from local_ecs.state import DEFAULT_CLUSTER, short_name
from local_ecs.wire import cluster_json, failure_json


def create_cluster(context: Context, request: Request) -> JsonObject:
    """Create a cluster; one of the same name is returned as it is, as ECS does."""
    name = request.text("clusterName") or DEFAULT_CLUSTER
    cluster = context.state.clusters.get(name)
    if cluster is None:
        cluster = Cluster(name=name, arn=context.state.arns.of("cluster", name))
        context.state.clusters[name] = cluster
    remember_tags(context, cluster.arn, request)
    return {"cluster": with_tags(context, cluster.arn, cluster_json(cluster, context.state))}


def describe_clusters(context: Context, request: Request) -> JsonObject:
    """Describe up to 100 clusters; unknown ones are failures."""
    found, failures = [], []
    for name in request.texts("clusters", at_most=100) or [DEFAULT_CLUSTER]:
        cluster = context.state.clusters.get(short_name(name))
        if cluster is None:
            arn = context.state.arns.of("cluster", short_name(name))
            failures.append(failure_json(arn, "MISSING"))
            continue
        document = cluster_json(cluster, context.state)
        found.append(with_tags(context, cluster.arn, document) if wants_tags(request) else document)
    return {"clusters": found, "failures": failures}


def list_clusters(context: Context, request: Request) -> JsonObject:
    """List the clusters' ARNs."""
    arns = [cluster.arn for cluster in context.state.clusters.values()]
    return page(request, arns, member="clusterArns", default=100)
