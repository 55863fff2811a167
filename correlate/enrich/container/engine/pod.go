package engine

import (
	"cmp"
	"strings"

	"github.com/weir-probe/weir/correlate"
)

// Labels that the kubelet gives every container and sandbox it asks for.
const (
	labelPodName       = "io.kubernetes.pod.name"
	labelPodNamespace  = "io.kubernetes.pod.namespace"
	labelPodUID        = "io.kubernetes.pod.uid"
	labelContainerName = "io.kubernetes.container.name"
)

// Labels that Kubernetes' own controllers give their pods; sandboxes have them.
const (
	labelTemplateHash = "pod-template-hash"                  // Deployment
	labelStatefulPod  = "statefulset.kubernetes.io/pod-name" // StatefulSet
	labelGeneration   = "pod-template-generation"            // DaemonSet
	labelRevision     = "controller-revision-hash"           // StatefulSet, DaemonSet
	labelJob          = "batch.kubernetes.io/job-name"       // Job
	labelOldJob       = "job-name"                           // before Kubernetes 1.27
)

// Static pods have their node's name in theirs, and no controller.
const (
	annotationSource = "kubernetes.io/config.source"
	sourceAPI        = "api"
)

// LabelledPod reads a pod from the labels of one of its containers, which do not
// tell the controller. The zero value stands for a container outside Kubernetes.
func LabelledPod(labels map[string]string) correlate.Pod {
	return NewPod(labels[labelPodUID], labels[labelPodNamespace], labels[labelPodName], labels, nil)
}

// NewPod returns a pod; labels and annotations are those of its sandbox, which
// has the pod's own.
func NewPod(uid, namespace, name string, labels, annotations map[string]string) correlate.Pod {
	p := correlate.Pod{UID: Limit(uid, MaxLabel), Namespace: Limit(namespace, MaxLabel), Name: Limit(name, MaxLabel)}
	if p.UID == "" || p.Name == "" {
		return correlate.Pod{UID: p.UID}
	}
	var kind string
	if src := annotations[annotationSource]; src != "" && src != sourceAPI {
		p.Workload = p.Name
	} else if kind, p.Workload = controller(p.Name, labels); kind != "" {
		p.Controller = kind + "/" + p.Workload
	}
	if p.Workload == "" {
		p.Workload = stem(p.Name)
	}
	p.Revision = Limit(cmp.Or(labels[labelTemplateHash], labels[labelRevision]), MaxLabel)
	return p
}

// ContainerName is the container's name in the pod's specification.
func ContainerName(labels map[string]string) string {
	return Limit(labels[labelContainerName], MaxLabel)
}

// controller tells kind and name of a pod's controller from the labels that the
// controller has set. A label alone proves nothing, anybody can set one: the pod's
// name must have the form the controller gives.
func controller(name string, labels map[string]string) (kind, workload string) {
	if hash := labels[labelTemplateHash]; hash != "" {
		if w, ok := cutSuffixes(name, "-"+hash+"-"); ok {
			return "deployment", w
		}
	}
	if labels[labelStatefulPod] == name {
		if i := strings.LastIndexByte(name, '-'); i > 0 && digits(name[i+1:]) {
			return "statefulset", name[:i]
		}
	}
	job := labels[labelJob]
	if job == "" {
		job = labels[labelOldJob]
	}
	if job != "" && strings.HasPrefix(name, job+"-") {
		if w := cutMinutes(job); w != job {
			return "cronjob", w
		}
		return "job", Limit(job, MaxLabel)
	}
	if labels[labelGeneration] != "" {
		if i := strings.LastIndexByte(name, '-'); i > 0 && generated(name[i+1:], 5, 5) {
			return "daemonset", name[:i]
		}
	}
	return "", ""
}

// cutSuffixes cuts a middle part and the five characters that follow it.
func cutSuffixes(name, middle string) (string, bool) {
	i := strings.LastIndex(name, middle)
	if i <= 0 || !generated(name[i+len(middle):], 5, 5) {
		return "", false
	}
	return name[:i], true
}

// stem infers the workload from the form of a pod's name alone, as Kubernetes
// makes it: NAME-HASH-xxxxx (Deployment), NAME-MINUTES-xxxxx (CronJob),
// NAME-xxxxx (DaemonSet, Job), NAME-0 (StatefulSet).
func stem(name string) string {
	i := strings.LastIndexByte(name, '-')
	switch {
	case i <= 0:
		return name
	case digits(name[i+1:]) && len(name)-i-1 < 5:
		return name[:i]
	case !generated(name[i+1:], 5, 5):
		return name
	}
	name = name[:i]
	// A ReplicaSet's hash is a number below 2³² in decimal, digit by digit in
	// another alphabet: nine of ten have ten digits.
	if i = strings.LastIndexByte(name, '-'); i > 0 && generated(name[i+1:], 8, 10) && !digits(name[i+1:]) {
		return name[:i]
	}
	return cutMinutes(name)
}

// cutMinutes cuts the minutes since 1970 that a CronJob adds to its jobs' names.
func cutMinutes(name string) string {
	if i := strings.LastIndexByte(name, '-'); i > 0 && digits(name[i+1:]) && len(name)-i-1 >= 8 {
		return name[:i]
	}
	return name
}

// alphabet is what Kubernetes makes names of: no vowels, no 0, 1 and 3, so that
// no word comes about by chance.
const alphabet = "bcdfghjklmnpqrstvwxz2456789"

func generated(s string, shortest, longest int) bool {
	if len(s) < shortest || len(s) > longest {
		return false
	}
	for i := range len(s) {
		if strings.IndexByte(alphabet, s[i]) < 0 {
			return false
		}
	}
	return true
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
