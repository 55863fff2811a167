package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// tester is the test service of gRPC's own interoperability tests, as far as it is
// asked here. Its CacheableUnaryCall is slow.
type tester struct {
	pb.UnimplementedTestServiceServer
}

func (tester) EmptyCall(context.Context, *pb.Empty) (*pb.Empty, error) { return &pb.Empty{}, nil }

// UnaryCall fails with the status it is asked for. Where it is to be late it does not
// care whether the client still waits.
func (tester) UnaryCall(ctx context.Context, q *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	if md, _ := metadata.FromIncomingContext(ctx); len(md["late"]) > 0 {
		time.Sleep(2 * delay)
	}
	if s := q.GetResponseStatus(); s.GetCode() != 0 {
		return nil, status.Error(codes.Code(s.GetCode()), s.GetMessage())
	}
	return &pb.SimpleResponse{Payload: &pb.Payload{Body: make([]byte, q.GetResponseSize())}}, nil
}

func (tester) CacheableUnaryCall(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	time.Sleep(delay)
	return &pb.SimpleResponse{}, nil
}

func (tester) StreamingOutputCall(q *pb.StreamingOutputCallRequest, s grpc.ServerStreamingServer[pb.StreamingOutputCallResponse]) error {
	for _, p := range q.GetResponseParameters() {
		if err := s.Send(&pb.StreamingOutputCallResponse{Payload: &pb.Payload{Body: make([]byte, p.GetSize())}}); err != nil {
			return err
		}
	}
	return nil
}

func (tester) StreamingInputCall(s grpc.ClientStreamingServer[pb.StreamingInputCallRequest, pb.StreamingInputCallResponse]) error {
	for {
		if _, err := s.Recv(); errors.Is(err, io.EOF) {
			return s.SendAndClose(&pb.StreamingInputCallResponse{})
		} else if err != nil {
			return err
		}
	}
}

func (tester) FullDuplexCall(s grpc.BidiStreamingServer[pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse]) error {
	for {
		if _, err := s.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.Send(&pb.StreamingOutputCallResponse{}); err != nil {
			return err
		}
	}
}

func serveGRPC(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	pb.RegisterTestServiceServer(s, tester{})
	return s.Serve(l)
}

// call makes calls and writes what came of them.
type call struct {
	operation string
	status    codes.Code // that is expected
	failed    bool
	piped     bool
	n         int
	f         func() error
}

// names of statuses as gRPC writes them (codes.Code has its Go names).
var names = map[codes.Code]string{
	codes.OK: "OK", codes.Canceled: "CANCELLED", codes.NotFound: "NOT_FOUND", codes.DeadlineExceeded: "DEADLINE_EXCEEDED",
	codes.Unavailable: "UNAVAILABLE", codes.Unimplemented: "UNIMPLEMENTED",
}

func (c *call) make(as string) error {
	for range c.n {
		began := time.Now()
		err := c.f()
		took := time.Since(began)
		if got := status.Code(err); got != c.status {
			return fmt.Errorf("%s: %v, want %v", c.operation, err, c.status)
		}
		asked{L7: "grpc", Operation: "/grpc.testing.TestService/" + c.operation, Status: as, Failed: c.failed, NS: took.Nanoseconds(), Piped: c.piped}.write()
	}
	return nil
}

func askGRPC(address string) error {
	if err := await(address); err != nil {
		return err
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer s3cret")
	c := pb.NewTestServiceClient(conn)
	unary := func(size int, code codes.Code) func() error {
		q := &pb.SimpleRequest{ResponseSize: 10, Payload: &pb.Payload{Body: make([]byte, size)}, ResponseStatus: &pb.EchoStatus{Code: int32(code), Message: "s3cret"}}
		return func() error { _, err := c.UnaryCall(ctx, q); return err }
	}
	for _, x := range []call{
		{"EmptyCall", codes.OK, false, false, 30, func() error { _, err := c.EmptyCall(ctx, &pb.Empty{}); return err }},
		{"UnaryCall", codes.OK, false, false, 15, unary(10, codes.OK)},
		{"UnaryCall", codes.OK, false, false, 5, unary(20000, codes.OK)},
		{"UnaryCall", codes.NotFound, false, false, 7, unary(10, codes.NotFound)},
		{"UnaryCall", codes.Unavailable, true, false, 3, unary(10, codes.Unavailable)},
		{"UnaryCall", codes.DeadlineExceeded, true, false, 2, unary(10, codes.DeadlineExceeded)},
		{"CacheableUnaryCall", codes.OK, false, false, 5, func() error { _, err := c.CacheableUnaryCall(ctx, &pb.SimpleRequest{}); return err }},
		{"UnimplementedCall", codes.Unimplemented, true, false, 2, func() error { _, err := c.UnimplementedCall(ctx, &pb.Empty{}); return err }},
		{"StreamingOutputCall", codes.OK, false, true, 4, func() error { return list(ctx, c, 1000) }},
		{"StreamingInputCall", codes.OK, false, true, 4, func() error { return collect(ctx, c) }},
		{"FullDuplexCall", codes.OK, false, true, 3, func() error { return talk(ctx, c) }},
	} {
		if err := x.make(names[x.status]); err != nil {
			return err
		}
	}
	// Of a large answer the end, which has the status, is not copied; what comes after
	// is known again.
	large := call{"StreamingOutputCall", codes.OK, false, true, 2, func() error { return list(ctx, c, 50000) }}
	if err := large.make(""); err != nil {
		return err
	}
	again := call{"EmptyCall", codes.OK, false, false, 5, func() error { _, err := c.EmptyCall(ctx, &pb.Empty{}); return err }}
	if err := again.make(names[codes.OK]); err != nil {
		return err
	}
	// The client's patience ends first: on the wire that is a stream reset by either
	// side, not the status it tells its caller.
	late := call{"UnaryCall", codes.DeadlineExceeded, false, true, 3, func() error {
		short, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, "late", "1"), delay/2)
		defer cancel()
		_, err := c.UnaryCall(short, &pb.SimpleRequest{})
		return err
	}}
	return late.make(names[codes.Canceled])
}

// list lets the server stream three messages, the second of a size.
func list(ctx context.Context, c pb.TestServiceClient, size int32) error {
	s, err := c.StreamingOutputCall(ctx, &pb.StreamingOutputCallRequest{ResponseParameters: []*pb.ResponseParameters{{Size: 10}, {Size: size}, {Size: 10}}})
	if err != nil {
		return err
	}
	for {
		if _, err := s.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// collect streams to the server.
func collect(ctx context.Context, c pb.TestServiceClient) error {
	s, err := c.StreamingInputCall(ctx)
	if err != nil {
		return err
	}
	for range 3 {
		if err := s.Send(&pb.StreamingInputCallRequest{Payload: &pb.Payload{Body: make([]byte, 1000)}}); err != nil {
			return err
		}
	}
	_, err = s.CloseAndRecv()
	return err
}

// talk takes turns with the server.
func talk(ctx context.Context, c pb.TestServiceClient) error {
	s, err := c.FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	for range 3 {
		if err := s.Send(&pb.StreamingOutputCallRequest{}); err != nil {
			return err
		}
		if _, err := s.Recv(); err != nil {
			return err
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
