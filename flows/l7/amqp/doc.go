// Package amqp follows connections of AMQP 0-9-1 (RabbitMQ), by its specification
// and RabbitMQ's extensions of it.
//
// Operation is class and method: queue.declare, basic.publish. Names of queues,
// exchanges and routing keys are not told. A method that has an answer is Answered
// by it, with status OK, EMPTY (basic.get of an empty queue), or the code and name
// of the channel.close or connection.close that came instead (404 NOT_FOUND),
// failed. With no-wait it is OneWay.
//
// basic.publish is OneWay, or, once its channel has selected confirms, Answered by
// the ack or nack (failed) of its delivery tag. basic.deliver, basic.return (with
// its code, failed), acknowledgements and a close of the server that answers
// nothing are OneWay; a server's own requests otherwise (its part of the handshake,
// channel.flow, connection.blocked) are not told.
//
// Content belongs to the method before it. Frames say their length, so holes in
// them do no harm but to the methods in them. After any other hole a direction is
// read again from a turn that begins with a frame; what is open on a channel is lost
// if the hole was in the answers, and confirms are followed no further if it was in
// the requests, for then the count of delivery tags is wrong.
//
// A connection keeps 2 beginnings of frames of 0.5 KiB, up to 128 channels of 120
// octets (on others each message is told as Lost) and the open requests (package
// open: at most 16 KiB).
package amqp
