package telemetry

import (
	"net"
	"strings"
)

// Notify sends a state (READY=1, STOPPING=1) to the service manager named by
// socket, the value of NOTIFY_SOCKET; without one it does nothing (sd_notify(3)).
func Notify(socket, state string) error {
	if socket == "" {
		return nil
	}
	if strings.HasPrefix(socket, "@") {
		socket = "\x00" + socket[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(state))
	return err
}
