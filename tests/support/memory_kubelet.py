"""What happens to pods on a cluster in memory: the Job controller makes them by itself, tests play the kubelet."""

import uuid

from tests.support.memory_objects import Change, Json, Key, Objects, Refused, merged, now

_ENDED = ("Succeeded", "Failed")


def pod_key(pod: Json) -> Key:
    return Key("v1", "pods", pod["metadata"]["namespace"], pod["metadata"]["name"])


class JobController:
    """A Job that is not suspended has a pod, once, if the namespace's quota of pods lets it. When the pod has ended the
    Job has, too, as with `backoffLimit: 0`.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def on_change(self, change: Change) -> None:
        key, made = change.key, change.after
        if key.plural == "jobs" and made is not None:
            self._make_or_take(key, made)
        if key.plural == "pods" and made is not None and made["status"]["phase"] in _ENDED:
            self._end(key.namespace, made)
        if key.plural == "resourcequotas":
            for each, job in self._objects.select(Key("batch/v1", "jobs", key.namespace, ""), {}):
                self._make_or_take(each, job)

    def _make_or_take(self, key: Key, made: Json) -> None:
        pods = [each for each in self._objects.owned_by(made["metadata"]["uid"]) if each.plural == "pods"]
        if made["spec"].get("suspend"):
            for pod in pods:
                self._objects.delete(pod)
        elif not pods and not made.get("status", {}).get("conditions"):
            refusal = self._refusal(key)
            if refusal:
                self._tell_of_refusal(key, made, refusal)
            else:
                self._make_pod(key, made)

    def _refusal(self, key: Key) -> str:
        pods = self._objects.select(Key("v1", "pods", key.namespace, ""), {})
        used = sum(pod["status"]["phase"] not in _ENDED for _, pod in pods)
        for quota, made in self._objects.select(Key("v1", "resourcequotas", key.namespace, ""), {}):
            limit = made["spec"]["hard"].get("pods")
            if limit is not None and used >= int(limit):
                return f"exceeded quota: {quota.name}, requested: pods=1, used: pods={used}, limited: pods={limit}"
        return ""

    def _make_pod(self, key: Key, made: Json) -> None:
        template = made["spec"]["template"]
        meta = dict(template.get("metadata", {}))
        meta["ownerReferences"] = [_reference(made, key.name)]
        meta["labels"] = {**meta.get("labels", {}), "batch.kubernetes.io/job-name": key.name}
        pod = Key("v1", "pods", key.namespace, _pod_name(key))
        self._objects.add(pod, {"metadata": meta, "spec": template["spec"], "status": {"phase": "Pending"}})

    def _tell_of_refusal(self, key: Key, made: Json, refusal: str) -> None:
        event = {
            "involvedObject": {"kind": "Job", "name": key.name, "uid": made["metadata"]["uid"]},
            "reason": "FailedCreate",
            "type": "Warning",
            "message": f'Error creating: pods "{_pod_name(key)}" is forbidden: {refusal}',
            "lastTimestamp": now(),
        }
        self._objects.add(Key("v1", "events", key.namespace, f"{key.name}.{uuid.uuid4().hex}"), event)

    def _end(self, namespace: str, pod: Json) -> None:
        owner: Json = next(iter(pod["metadata"].get("ownerReferences", ())), {})
        key = Key("batch/v1", "jobs", namespace, owner.get("name", ""))
        made = self._objects.find(key)
        if owner.get("kind") != "Job" or made is None:
            return
        kind = "Complete" if pod["status"]["phase"] == "Succeeded" else "Failed"
        said = {"type": kind, "status": "True", "lastTransitionTime": now()}
        if not made.get("status", {}).get("conditions"):
            self._objects.put(key, {**made, "status": {"conditions": [said]}})


def _pod_name(job: Key) -> str:
    return f"{job.name}-{uuid.uuid4().hex[:5]}"


def _reference(made: Json, name: str) -> Json:
    uid = made["metadata"]["uid"]
    return {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": True}


class Kubelet:
    """Also the scheduler, and whoever registers nodes. Each returns the pod as it is then."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._logs: dict[Key, str] = {}

    def node(self, name: str, *, gpus: int = 0, gpu_memory_mib: int = 0) -> Json:
        labels = {"nvidia.com/gpu.memory": str(gpu_memory_mib)} if gpu_memory_mib else {}
        allocatable = {"cpu": "8", "memory": "32Gi"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
        key = Key("v1", "nodes", "", name)
        return self._objects.add(key, {"metadata": {"labels": labels}, "status": {"allocatable": allocatable}})

    def pods(self, job: Json) -> list[Json]:
        """Of a batch/v1 Job."""
        owned = self._objects.owned_by(job["metadata"]["uid"])
        return [self._objects.get(key) for key in owned if key.plural == "pods"]

    def bind(self, pod: Json, node: str = "node-a") -> Json:
        scheduled = {"type": "PodScheduled", "status": "True"}
        return self.say(pod, {"spec": {"nodeName": node}, "status": {"conditions": [scheduled]}})

    def cannot_schedule(self, pod: Json, message: str) -> Json:
        unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        return self.say(pod, {"status": {"conditions": [unschedulable]}})

    def cannot_start(self, pod: Json, reason: str, message: str = "") -> Json:
        """`ImagePullBackOff`, `CreateContainerConfigError`, …"""
        return self._container(pod, "Pending", {"waiting": {"reason": reason, "message": message}})

    def run(self, pod: Json) -> Json:
        bound = pod if pod["spec"].get("nodeName") else self.bind(pod)
        return self._container(bound, "Running", {"running": {"startedAt": now()}})

    def finish(self, pod: Json, message: str = "", *, exit_code: int = 0, reason: str = "", log: str = "") -> Json:
        """`message`: what the container left in its termination log."""
        self._logs[pod_key(pod)] = log
        why = reason or ("Error" if exit_code else "Completed")
        ended = {"exitCode": exit_code, "reason": why, "message": message, "startedAt": now(), "finishedAt": now()}
        return self._container(pod, "Failed" if exit_code else "Succeeded", {"terminated": ended})

    def evict(self, pod: Json, reason: str = "Evicted", message: str = "") -> Json:
        """Ended by the kubelet, which says why; its container leaves nothing."""
        return self.say(pod, {"status": {"phase": "Failed", "reason": reason, "message": message}})

    def vanish(self, pod: Json) -> None:
        """Its node is gone, or let go of a deleted pod."""
        self._objects.remove(pod_key(pod))

    def say(self, pod: Json, patch: Json) -> Json:
        """Whatever else of it changes."""
        key = pod_key(pod)
        return self._objects.put(key, merged(self._objects.get(key), patch))

    def log(self, key: Key) -> str:
        pod = self._objects.get(key)
        if not pod["status"].get("containerStatuses"):
            raise Refused(400, f'container in pod "{key.name}" is waiting to start')
        return self._logs.get(key, "")

    def _container(self, pod: Json, phase: str, state: Json) -> Json:
        name = pod["spec"]["containers"][0]["name"]
        statuses = [{"name": name, "state": state, "ready": "running" in state}]
        return self.say(pod, {"status": {"phase": phase, "containerStatuses": statuses}})
