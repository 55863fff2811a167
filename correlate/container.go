package correlate

// Container is immutable once published.
type Container struct {
	ID   string // 64 hex digits
	Name string // as the runtime shows it, in a pod as its spec has it; empty while unknown
	// Image is the image reference as the user wrote it.
	Image string
	// Project, Service and Replica are the Compose labels, empty outside Compose.
	Project, Service, Replica string
	// Revision identifies the Compose configuration that the container was made of,
	// empty outside Compose.
	Revision string
	// Pod is what the container is part of; its zero value is no pod.
	Pod Pod
	// Sandbox is true for the container that only holds a pod's namespaces open:
	// it stands for the pod where no more than that is known.
	Sandbox bool
}

// Pod is a Kubernetes pod, where UID is set in every one and the rest once a
// runtime has named it, or a pod of Podman, which has a name only.
type Pod struct {
	UID, Namespace, Name string
	// Workload is what the pod is one instance of: its name stays when pods are
	// replaced. Controller is the same with its kind (deployment/api), empty where
	// only the form of the pod's name tells the workload.
	Workload, Controller string
	// Revision identifies the pod template that it was made of, empty where its
	// controller does not tell.
	Revision string
}

// DisplayName is the stable name of the container's end: Kubernetes
// namespace/workload, Compose project/service, else the container name.
func (c *Container) DisplayName() string {
	switch {
	case c.Pod.UID != "" && c.Pod.Name != "":
		return c.Pod.Namespace + "/" + c.Pod.Workload
	case c.Pod.UID != "":
		return "pod"
	case c.Sandbox && c.Pod.Name != "":
		return c.Pod.Name
	case c.Project != "" && c.Service != "":
		return c.Project + "/" + c.Service
	case c.Name != "":
		return c.Name
	}
	return "container"
}

// Kind is what an end in the container is.
func (c *Container) Kind() Kind {
	if c.Pod.UID != "" {
		return KindPod
	}
	return KindContainer
}
