package amqp

// role is what a method is in a conversation.
type role uint8

const (
	request role = iota // of the client, with an answer
	oneWay              // of the client, without
	answer              // of the server
	push                // of the server, unasked
	quiet               // not told: the handshake, and answers of the client
)

// method is what is known of one.
type method struct {
	name string
	role role
	// answers are the ids of the methods of the same class that answer it.
	answers [2]uint16
	// content says that a header and body frames follow.
	content bool
	// wait says where the bit no-wait is, if there is one: bit, behind so many short
	// integers and short strings; bit is -1 where there is none.
	shorts, strings, bit int
}

func id(class, number uint16) uint32 { return uint32(class)<<16 | uint32(number) }

const (
	connectionClose = 10<<16 | 50
	channelClose    = 20<<16 | 40
	channelCloseOk  = 20<<16 | 41
	channelOpen     = 20<<16 | 10
	confirmSelect   = 85<<16 | 10
	basicPublish    = 60<<16 | 40
	basicReturn     = 60<<16 | 50
	basicDeliver    = 60<<16 | 60
	basicGetOk      = 60<<16 | 71
	basicGetEmpty   = 60<<16 | 72
	basicAck        = 60<<16 | 80
	basicNack       = 60<<16 | 120
	connectionStart = 10<<16 | 10
)

// methods are those of AMQP 0-9-1 and of RabbitMQ's extensions.
var methods = map[uint32]method{
	id(10, 10):    {name: "connection.start", role: quiet},
	id(10, 11):    {name: "connection.start-ok", role: request, answers: [2]uint16{30, 20}, bit: -1},
	id(10, 20):    {name: "connection.secure", role: answer},
	id(10, 21):    {name: "connection.secure-ok", role: request, answers: [2]uint16{30, 20}, bit: -1},
	id(10, 30):    {name: "connection.tune", role: answer},
	id(10, 31):    {name: "connection.tune-ok", role: quiet},
	id(10, 40):    {name: "connection.open", role: request, answers: [2]uint16{41}, bit: -1},
	id(10, 41):    {name: "connection.open-ok", role: answer},
	id(10, 50):    {name: "connection.close", role: request, answers: [2]uint16{51}, bit: -1},
	id(10, 51):    {name: "connection.close-ok", role: answer},
	id(10, 60):    {name: "connection.blocked", role: quiet},
	id(10, 61):    {name: "connection.unblocked", role: quiet},
	id(10, 70):    {name: "connection.update-secret", role: request, answers: [2]uint16{71}, bit: -1},
	id(10, 71):    {name: "connection.update-secret-ok", role: answer},
	id(20, 10):    {name: "channel.open", role: request, answers: [2]uint16{11}, bit: -1},
	id(20, 11):    {name: "channel.open-ok", role: answer},
	id(20, 20):    {name: "channel.flow", role: request, answers: [2]uint16{21}, bit: -1},
	id(20, 21):    {name: "channel.flow-ok", role: answer},
	id(20, 40):    {name: "channel.close", role: request, answers: [2]uint16{41}, bit: -1},
	id(20, 41):    {name: "channel.close-ok", role: answer},
	id(30, 10):    {name: "access.request", role: request, answers: [2]uint16{11}, bit: -1},
	id(30, 11):    {name: "access.request-ok", role: answer},
	id(40, 10):    {name: "exchange.declare", role: request, answers: [2]uint16{11}, shorts: 1, strings: 2, bit: 4},
	id(40, 11):    {name: "exchange.declare-ok", role: answer},
	id(40, 20):    {name: "exchange.delete", role: request, answers: [2]uint16{21}, shorts: 1, strings: 1, bit: 1},
	id(40, 21):    {name: "exchange.delete-ok", role: answer},
	id(40, 30):    {name: "exchange.bind", role: request, answers: [2]uint16{31}, shorts: 1, strings: 3, bit: 0},
	id(40, 31):    {name: "exchange.bind-ok", role: answer},
	id(40, 40):    {name: "exchange.unbind", role: request, answers: [2]uint16{51}, shorts: 1, strings: 3, bit: 0},
	id(40, 51):    {name: "exchange.unbind-ok", role: answer},
	id(50, 10):    {name: "queue.declare", role: request, answers: [2]uint16{11}, shorts: 1, strings: 1, bit: 4},
	id(50, 11):    {name: "queue.declare-ok", role: answer},
	id(50, 20):    {name: "queue.bind", role: request, answers: [2]uint16{21}, shorts: 1, strings: 3, bit: 0},
	id(50, 21):    {name: "queue.bind-ok", role: answer},
	id(50, 30):    {name: "queue.purge", role: request, answers: [2]uint16{31}, shorts: 1, strings: 1, bit: 0},
	id(50, 31):    {name: "queue.purge-ok", role: answer},
	id(50, 40):    {name: "queue.delete", role: request, answers: [2]uint16{41}, shorts: 1, strings: 1, bit: 2},
	id(50, 41):    {name: "queue.delete-ok", role: answer},
	id(50, 50):    {name: "queue.unbind", role: request, answers: [2]uint16{51}, bit: -1},
	id(50, 51):    {name: "queue.unbind-ok", role: answer},
	id(60, 10):    {name: "basic.qos", role: request, answers: [2]uint16{11}, bit: -1},
	id(60, 11):    {name: "basic.qos-ok", role: answer},
	id(60, 20):    {name: "basic.consume", role: request, answers: [2]uint16{21}, shorts: 1, strings: 2, bit: 3},
	id(60, 21):    {name: "basic.consume-ok", role: answer},
	id(60, 30):    {name: "basic.cancel", role: request, answers: [2]uint16{31}, strings: 1, bit: 0},
	id(60, 31):    {name: "basic.cancel-ok", role: answer},
	basicPublish:  {name: "basic.publish", role: oneWay, content: true},
	basicReturn:   {name: "basic.return", role: push, content: true},
	basicDeliver:  {name: "basic.deliver", role: push, content: true},
	id(60, 70):    {name: "basic.get", role: request, answers: [2]uint16{71, 72}, bit: -1},
	basicGetOk:    {name: "basic.get-ok", role: answer, content: true},
	basicGetEmpty: {name: "basic.get-empty", role: answer},
	basicAck:      {name: "basic.ack", role: oneWay},
	id(60, 90):    {name: "basic.reject", role: oneWay},
	id(60, 100):   {name: "basic.recover-async", role: oneWay},
	id(60, 110):   {name: "basic.recover", role: request, answers: [2]uint16{111}, bit: -1},
	id(60, 111):   {name: "basic.recover-ok", role: answer},
	basicNack:     {name: "basic.nack", role: oneWay},
	confirmSelect: {name: "confirm.select", role: request, answers: [2]uint16{11}, bit: 0},
	id(85, 11):    {name: "confirm.select-ok", role: answer},
	id(90, 10):    {name: "tx.select", role: request, answers: [2]uint16{11}, bit: -1},
	id(90, 11):    {name: "tx.select-ok", role: answer},
	id(90, 20):    {name: "tx.commit", role: request, answers: [2]uint16{21}, bit: -1},
	id(90, 21):    {name: "tx.commit-ok", role: answer},
	id(90, 30):    {name: "tx.rollback", role: request, answers: [2]uint16{31}, bit: -1},
	id(90, 31):    {name: "tx.rollback-ok", role: answer},
}

// replyCode returns the code and name of a close or a return, and whether it is a
// failure (200 is how one says good-bye).
func replyCode(code uint16) (status string, failed bool) {
	switch code {
	case 200:
		return "200 REPLY_SUCCESS", false
	case 311:
		return "311 CONTENT_TOO_LARGE", true
	case 312:
		return "312 NO_ROUTE", true
	case 313:
		return "313 NO_CONSUMERS", true
	case 320:
		return "320 CONNECTION_FORCED", true
	case 402:
		return "402 INVALID_PATH", true
	case 403:
		return "403 ACCESS_REFUSED", true
	case 404:
		return "404 NOT_FOUND", true
	case 405:
		return "405 RESOURCE_LOCKED", true
	case 406:
		return "406 PRECONDITION_FAILED", true
	case 501:
		return "501 FRAME_ERROR", true
	case 502:
		return "502 SYNTAX_ERROR", true
	case 503:
		return "503 COMMAND_INVALID", true
	case 504:
		return "504 CHANNEL_ERROR", true
	case 505:
		return "505 UNEXPECTED_FRAME", true
	case 506:
		return "506 RESOURCE_ERROR", true
	case 530:
		return "530 NOT_ALLOWED", true
	case 540:
		return "540 NOT_IMPLEMENTED", true
	case 541:
		return "541 INTERNAL_ERROR", true
	}
	return "error", true
}
