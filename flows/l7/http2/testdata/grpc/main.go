// Command grpc is the server and the client of the gRPC capture: calls of each
// kind, one after the other and at once. See record.sh.
package main

import (
	"context"
	"log"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type message = wrapperspb.StringValue

func unary(name string, f func(context.Context, *message) (*message, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(message)
		if err := dec(in); err != nil {
			return nil, err
		}
		return f(ctx, in)
	}}
}

var service = grpc.ServiceDesc{
	ServiceName: "weir.test.Greeter", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		unary("Hello", func(_ context.Context, m *message) (*message, error) { return m, nil }),
		unary("Slow", func(ctx context.Context, m *message) (*message, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
			return m, nil
		}),
		unary("Fail", func(_ context.Context, m *message) (*message, error) {
			if m.Value == "missing" {
				return nil, status.Error(codes.NotFound, "no such thing")
			}
			return nil, status.Error(codes.Unavailable, "later")
		}),
	},
	Streams: []grpc.StreamDesc{
		{StreamName: "List", ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			m := new(message)
			if err := s.RecvMsg(m); err != nil {
				return err
			}
			for range 3 {
				if err := s.SendMsg(m); err != nil {
					return err
				}
			}
			return nil
		}},
		{StreamName: "Collect", ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			m := new(message)
			for range 3 {
				if err := s.RecvMsg(m); err != nil {
					return err
				}
			}
			return s.SendMsg(m)
		}},
	},
}

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:50051")
	check(err)
	s := grpc.NewServer()
	s.RegisterService(&service, new(any))
	go s.Serve(l)
	c, err := grpc.NewClient("127.0.0.1:50051", grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(err)
	ctx := context.Background()
	call := func(ctx context.Context, method, text string) error {
		return c.Invoke(ctx, "/weir.test.Greeter/"+method, wrapperspb.String(text), new(message))
	}
	for range 3 {
		check(call(ctx, "Hello", "you"))
	}
	fails(call(ctx, "Fail", "missing"))
	fails(call(ctx, "Fail", "else"))
	fails(call(ctx, "Nothing", ""))

	list, err := c.NewStream(ctx, &service.Streams[0], "/weir.test.Greeter/List")
	check(err)
	check(list.SendMsg(wrapperspb.String("x")))
	check(list.CloseSend())
	for list.RecvMsg(new(message)) == nil {
	}
	collect, err := c.NewStream(ctx, &service.Streams[1], "/weir.test.Greeter/Collect")
	check(err)
	for range 3 {
		check(collect.SendMsg(wrapperspb.String("y")))
	}
	check(collect.CloseSend())
	check(collect.RecvMsg(new(message)))

	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { check(call(ctx, "Slow", "z")) })
	}
	all.Wait()
	short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	fails(call(short, "Slow", "late"))
	check(call(ctx, "Hello", "again"))
	check(c.Close())
	s.GracefulStop()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func fails(err error) {
	if err == nil {
		log.Fatal("a call that should have failed did not")
	}
}
