package main

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// streamed lets the driver follow a server that streams its hellos, and compress.
func streamed(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:27017")
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go respond(c)
		}
	}()
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://127.0.0.1:27017").SetMaxPoolSize(1).
		SetServerMonitoringMode("stream").SetHeartbeatInterval(500 * time.Millisecond).SetCompressors([]string{"zlib"}))
	if err != nil {
		return err
	}
	items := client.Database("shop").Collection("items")
	for i := range 3 {
		_, err = items.InsertOne(ctx, bson.D{{"_id", i}})
		fmt.Println("insert", err)
	}
	quiet := client.Database("shop").Collection("log", options.Collection().SetWriteConcern(writeconcern.Unacknowledged()))
	_, err = quiet.InsertOne(ctx, bson.D{{"line", "a"}})
	fmt.Println("unacknowledged", err)
	fmt.Println("find", items.FindOne(ctx, bson.D{}).Err())
	time.Sleep(1800 * time.Millisecond)
	return client.Disconnect(ctx)
}

var process = bson.NewObjectID()

// respond answers hellos truly and everything else with a duplicate key, compressed
// as it was asked.
func respond(c net.Conn) {
	defer c.Close()
	id := int32(1000)
	for {
		head := make([]byte, 16)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		body := make([]byte, binary.LittleEndian.Uint32(head)-16)
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		asked, op := int32(binary.LittleEndian.Uint32(head[4:])), binary.LittleEndian.Uint32(head[12:])
		compressed := op == 2012
		if compressed {
			op = binary.LittleEndian.Uint32(body)
			r, err := zlib.NewReader(bytes.NewReader(body[9:]))
			if err != nil {
				panic(err)
			}
			if body, err = io.ReadAll(r); err != nil {
				panic(err)
			}
		}
		hello := bson.D{{"helloOk", true}, {"ismaster", true}, {"topologyVersion", bson.D{{"processId", process}, {"counter", int64(0)}}},
			{"maxBsonObjectSize", 16777216}, {"maxMessageSizeBytes", 48000000}, {"maxWriteBatchSize", 100000},
			{"localTime", bson.NewDateTimeFromTime(time.Now())}, {"logicalSessionTimeoutMinutes", 30}, {"connectionId", 7},
			{"minWireVersion", 0}, {"maxWireVersion", 21}, {"readOnly", false}, {"compression", bson.A{"zlib"}}, {"ok", 1.0}}
		var doc bson.Raw
		flags := uint32(0)
		if op == 2004 {
			b, _ := bson.Marshal(hello)
			reply := append(make([]byte, 20), b...)
			binary.LittleEndian.PutUint32(reply[16:], 1)
			id++
			send(c, id, asked, 1, reply)
			continue
		}
		flags = binary.LittleEndian.Uint32(body)
		doc = bson.Raw(body[5:])
		e, err := doc.IndexErr(0)
		if err != nil {
			panic(err)
		}
		command := e.Key()
		var answer any = bson.D{{"n", 0}, {"writeErrors", bson.A{bson.D{{"index", 0}, {"code", 11000}, {"errmsg", "E11000 duplicate key"}}}}, {"ok", 1.0}}
		switch command {
		case "hello", "isMaster", "ismaster":
			answer = hello
		case "find":
			answer = bson.D{{"cursor", bson.D{{"firstBatch", bson.A{bson.D{{"_id", 1}}}}, {"id", int64(0)}, {"ns", "shop.items"}}}, {"ok", 1.0}}
		case "endSessions":
			answer = bson.D{{"ok", 1.0}}
		}
		if flags&2 != 0 {
			continue
		}
		b, _ := bson.Marshal(answer)
		if flags&(1<<16) != 0 {
			for range 3 {
				time.Sleep(400 * time.Millisecond)
				id++
				send(c, id, asked, 2013, append([]byte{2, 0, 0, 0, 0}, b...))
				asked = id
			}
			time.Sleep(400 * time.Millisecond)
			id++
			send(c, id, asked, 2013, append([]byte{0, 0, 0, 0, 0}, b...))
			continue
		}
		msg := append([]byte{0, 0, 0, 0, 0}, b...)
		id++
		if compressed {
			var z bytes.Buffer
			z.Write(binary.LittleEndian.AppendUint32(nil, 2013))
			z.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(msg))))
			z.WriteByte(2)
			w := zlib.NewWriter(&z)
			w.Write(msg)
			w.Close()
			send(c, id, asked, 2012, z.Bytes())
			continue
		}
		send(c, id, asked, 2013, msg)
	}
}

func send(c net.Conn, id, to int32, op uint32, body []byte) {
	b := binary.LittleEndian.AppendUint32(nil, uint32(16+len(body)))
	b = binary.LittleEndian.AppendUint32(b, uint32(id))
	b = binary.LittleEndian.AppendUint32(b, uint32(to))
	b = binary.LittleEndian.AppendUint32(b, op)
	c.Write(append(b, body...))
}
