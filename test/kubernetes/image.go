package kubernetes

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// writeImage writes an image of one static program, as `docker save` would.
func writeImage(path, name, program string) error {
	code, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("make image %s: %w", name, err)
	}
	var layer bytes.Buffer
	if err := pack(&layer, []entry{{"tmp", nil}, {"proc", nil}, {"sys", nil}, {"dev", nil}, {"etc", nil}, {"workload", code}}); err != nil {
		return fmt.Errorf("make image %s: %w", name, err)
	}
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux",
		// What a container without a command does: nothing, for ever (the sandbox).
		"config": map[string]any{"Entrypoint": []string{"/workload"}, "Cmd": []string{"client", "-n", "0", "-linger", "1000h"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer.Bytes())}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": digest(config) + ".json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("make image %s: %w", name, err)
	}
	defer f.Close()
	return pack(f, []entry{{digest(config) + ".json", config}, {"layer.tar", layer.Bytes()}, {"manifest.json", manifest}})
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// entry is a file, or a directory without data.
type entry struct {
	name string
	data []byte
}

func pack(w io.Writer, entries []entry) error {
	tw := tar.NewWriter(w)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: 0o755, Size: int64(len(e.data)), Typeflag: tar.TypeReg}
		if e.data == nil {
			h.Typeflag = tar.TypeDir
		}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if _, err := tw.Write(e.data); err != nil {
			return err
		}
	}
	return tw.Close()
}
