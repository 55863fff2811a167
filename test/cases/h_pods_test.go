package cases

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/kubernetes"
)

// deployed is a pod as a Deployment's ReplicaSet makes it.
func deployed(name, hash, suffix string, qos kubernetes.QoS) kubernetes.Spec {
	return kubernetes.Spec{Namespace: "shop", Name: name + "-" + hash + "-" + suffix, QoS: qos, Labels: map[string]string{"pod-template-hash": hash}}
}

// toPods matches connections to a port of this test's pods and their node.
func toPods(port int) func(row) bool {
	return both(serverPort(port), func(r row) bool {
		return strings.HasPrefix(r.str("server_address"), "10.205.") || strings.HasPrefix(r.str("server_address"), "fd05:205:") || r.str("server_address") == "127.0.0.1"
	})
}

// call returns the arguments of a client.
func call(addr string, port, send, recv int, more ...string) []string {
	if strings.Contains(addr, ":") {
		addr = "[" + addr + "]"
	}
	return append([]string{"client", "-addr", fmt.Sprintf("%s:%d", addr, port), "-send", fmt.Sprint(send), "-recv", fmt.Sprint(recv)}, more...)
}

// All traffic first, then what weir wrote of it.
func TestCaseH_Pods(t *testing.T) {
	node := kubernetes.Start(t, kubernetes.Config{Subnet4: "10.205.0.0/24", Subnet6: "fd05:205::/64"})
	rows := ownKnowing(t, "--runtime", "cri:"+node.Socket)

	api := node.Run(t, deployed("api", "6d5f9c7b84", "x2x9q", kubernetes.Guaranteed))
	server := api.Serving(t, "http", "-tcp", ":9301")
	front := node.Run(t, deployed("front", "59c7f8b6dd", "kxz2b", kubernetes.Burstable))
	setup := front.Start(t, "setup", call(api.IPs[0], 9301, 100, 200)...) // an init container
	front.Wait(t, setup)
	page := front.Start(t, "page", call(api.IPs[0], 9301, 1000, 5000)...)
	front.Wait(t, page)
	front.Wait(t, front.Start(t, "six", call(api.IPs[1], 9301, 66, 660)...))

	pair := node.Run(t, kubernetes.Spec{Namespace: "shop", Name: "pair-0", QoS: kubernetes.BestEffort, Labels: map[string]string{"statefulset.kubernetes.io/pod-name": "pair-0"}})
	left := pair.Serving(t, "left", "-tcp", "127.0.0.1:9302")
	right := pair.Start(t, "right", call("127.0.0.1", 9302, 10, 20)...)
	pair.Wait(t, right)

	agent := node.Run(t, kubernetes.Spec{Namespace: "kube-system", Name: "agent-k7x2p", HostNetwork: true, Labels: map[string]string{"pod-template-generation": "1"}})
	agent.Serving(t, "agent", "-tcp", ":9303")
	front.Wait(t, front.Start(t, "metrics", call("10.205.0.1", 9303, 30, 40)...))
	// what the kubelet does: a process of the node asks a pod
	kubelet := spawn(t, node.NS, "call", api.IPs[0]+":9301", "8")
	kubelet.number()
	kubelet.ended()

	// pods of a moment
	for i := range 3 {
		p := node.Run(t, kubernetes.Spec{
			Namespace: "batch", Name: fmt.Sprintf("report-2839123%d-x2x9q", i),
			Labels: map[string]string{"job-name": fmt.Sprintf("report-2839123%d", i)},
		})
		p.Wait(t, p.Start(t, "main", call(api.IPs[0], 9301, 4000, 40)...))
		p.Delete(t)
	}

	// nobody listens: only the address tells who was meant
	first := node.Run(t, deployed("old", "7f8d9c6b54", "zzzzz", kubernetes.BestEffort))
	front.Wait(t, front.Start(t, "try1", call(first.IPs[0], 9304, 1, 1)...))
	front.Wait(t, front.Start(t, "try6", call(first.IPs[1], 9304, 1, 1)...))
	reused := first.IPs[0]
	first.Delete(t)
	node.ReuseAddresses(t, first)
	second := node.Run(t, deployed("new", "7f8d9c6b55", "vvvvv", kubernetes.BestEffort))
	if second.IPs[0] != reused {
		t.Fatalf("the node gave %s, not %s", second.IPs[0], reused)
	}
	pair.Wait(t, pair.Start(t, "try2", call(second.IPs[0], 9304, 1, 1)...))

	// a pod deleted while its connection is open
	goner := node.Run(t, deployed("goner", "6c7d8f9b5", "w4v5z", kubernetes.Burstable))
	goner.Start(t, "hold", call(api.IPs[0], 9301, 700, 70, "-hold", "1h")...)
	rows.settle(t)
	goner.Delete(t)

	byClient := map[string]row{}
	for _, r := range rows.final(t, 8, toPods(9301)) {
		byClient[r.str("client_pod")+"/"+r.str("client_container")] = r
		want(t, r, map[string]any{"server": "shop/api", "server_pod": api.Name, "server_container": "http", "server_container_id": server, "server_method": "cookie", "reporter": "both"})
	}
	t.Run("H5 init container and its successor", func(t *testing.T) {
		want(t, byClient[front.Name+"/setup"], map[string]any{"client": "shop/front", "client_container_id": setup, "to_server_bytes": 108, "to_client_bytes": 200})
		want(t, byClient[front.Name+"/page"], map[string]any{"client": "shop/front", "client_container_id": page, "to_server_bytes": 1008, "to_client_bytes": 5000})
		want(t, byClient[front.Name+"/six"], map[string]any{"client": "shop/front", "client_address": front.IPs[1], "to_server_bytes": 74, "to_client_bytes": 660})
	})
	t.Run("C4 two containers of a pod over lo", func(t *testing.T) {
		want(t, rows.final(t, 1, both(toPods(9302), func(r row) bool { return r.str("client_pod") == pair.Name }))[0], map[string]any{
			"client": "shop/pair", "server": "shop/pair", "server_pod": pair.Name, "client_container": "right", "client_container_id": right,
			"server_container": "left", "server_container_id": left, "to_server_bytes": 18, "to_client_bytes": 20,
		})
	})
	t.Run("H4 hostNetwork", func(t *testing.T) {
		want(t, rows.final(t, 1, toPods(9303))[0], map[string]any{
			"client": "shop/front", "client_pod": front.Name, "server": "kube-system/agent", "server_pod": agent.Name, "server_container": "agent",
			"server_netns": int(node.NS.Inode), "server_method": "cookie", "to_server_bytes": 38, "to_client_bytes": 40,
		})
	})
	t.Run("H14 a process of the node", func(t *testing.T) {
		want(t, byClient["/"], map[string]any{"client": "cases.test", "client_pid": kubelet.Process.Pid, "client_netns": int(node.NS.Inode)})
	})
	t.Run("H1 pods of a moment", func(t *testing.T) {
		for i := range 3 {
			r, ok := byClient[fmt.Sprintf("report-2839123%d-x2x9q/main", i)]
			if !ok {
				t.Errorf("pod %d is in no row", i)
				continue
			}
			want(t, r, map[string]any{"client": "batch/report", "to_server_bytes": 4008, "to_client_bytes": 40})
		}
	})
	t.Run("H3 H13 addresses", func(t *testing.T) {
		got := rows.final(t, 3, toPods(9304))
		for i, p := range []*kubernetes.Pod{first, first, second} {
			workload, _, _ := strings.Cut(p.Name, "-")
			want(t, got[i], map[string]any{
				"server": "shop/" + workload, "server_pod": p.Name, "server_method": "address", "server_container": "", "server_container_id": "",
				"server_address": p.IPs[i%2], "close_cause": "refused",
			})
		}
	})
	t.Run("H11 deleted while open", func(t *testing.T) {
		want(t, byClient[goner.Name+"/hold"], map[string]any{"client": "shop/goner", "to_server_bytes": 708, "to_client_bytes": 70})
	})
	t.Run("tags", func(t *testing.T) {
		flows := rows.all(t, "flow", func(r row) bool { return r.tag("server") == "shop/api" && r.tag("client") == "shop/front" })
		if len(flows) == 0 {
			t.Fatal("no row of flow")
		}
		for _, r := range flows {
			want(t, r, map[string]any{
				"client_kind": "pod", "server_kind": "pod", "client_namespace": "shop", "server_namespace": "shop",
				"client_workload": "deployment/front", "server_workload": "deployment/api", "attribution": "exact",
				"client_container": "", "server_container": "", "client_process": "", // granularity auto
			})
		}
	})
}
