"""A Kubernetes cluster on loopback: pods that boot real machines, and the API of them that kubectl speaks."""

from rackrate.testing.kubernetes.pods import Node, Pods
from rackrate.testing.kubernetes.server import KubernetesServer

__all__ = ["KubernetesServer", "Node", "Pods"]
