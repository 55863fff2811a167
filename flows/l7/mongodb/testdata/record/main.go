// Command record lets the Go driver talk to FerretDB (embedded) and to a responder
// that streams hellos and speaks zlib, for the captures beside this directory.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var err error
	switch os.Args[1] {
	case "ferretdb":
		err = ferret(ctx)
	case "responder":
		err = streamed(ctx)
	default:
		err = errors.New("usage: record ferretdb|responder")
	}
	if err != nil {
		log.Fatal(err)
	}
}

func ferret(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "ferret")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	f, err := ferretdb.New(&ferretdb.Config{
		Listener: ferretdb.ListenerConfig{TCP: "127.0.0.1:27017"}, Handler: "sqlite",
		SQLiteURL: "file:" + dir + "/", Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return err
	}
	go f.Run(ctx)
	time.Sleep(time.Second)
	return talk(ctx, f.MongoDBURI())
}

// talk is a client's life.
func talk(ctx context.Context, uri string) error {
	client, err := mongo.Connect(options.Client().ApplyURI(uri).SetMaxPoolSize(1).SetServerMonitoringMode("poll"))
	if err != nil {
		return err
	}
	defer client.Disconnect(ctx)
	db := client.Database("shop")
	orders := db.Collection("orders")
	step := func(name string, err error) { fmt.Println(name, err) }
	step("ping", client.Ping(ctx, nil))
	var docs []any
	for i := range 30 {
		docs = append(docs, bson.D{{"_id", i}, {"customer", fmt.Sprint("secret customer ", i)}, {"text", make([]byte, 200)}})
	}
	_, err = orders.InsertMany(ctx, docs)
	step("insert", err)
	_, err = orders.InsertOne(ctx, docs[0])
	step("insert again", err)
	step("findOne", orders.FindOne(ctx, bson.D{{"_id", 3}}).Err())
	cursor, err := orders.Find(ctx, bson.D{}, options.Find().SetBatchSize(10))
	if err != nil {
		return err
	}
	var all []bson.D
	step("find all", cursor.All(ctx, &all))
	_, err = orders.UpdateOne(ctx, bson.D{{"_id", 3}}, bson.D{{"$set", bson.D{{"paid", true}}}})
	step("update", err)
	_, err = orders.UpdateOne(ctx, bson.D{{"_id", 3}}, bson.D{{"$bad", bson.D{{"paid", true}}}})
	step("bad update", err)
	_, err = orders.DeleteMany(ctx, bson.D{{"_id", bson.D{{"$gt", 20}}}})
	step("delete", err)
	_, err = orders.CountDocuments(ctx, bson.D{})
	step("count", err)
	_, err = orders.EstimatedDocumentCount(ctx)
	step("estimated", err)
	step("distinct", orders.Distinct(ctx, "customer", bson.D{}).Err())
	step("findAndModify", orders.FindOneAndUpdate(ctx, bson.D{{"_id", 4}}, bson.D{{"$set", bson.D{{"paid", true}}}}).Err())
	_, err = orders.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{"customer", 1}}})
	step("index", err)
	step("bad command", db.RunCommand(ctx, bson.D{{"noSuchCommand", 1}}).Err())
	step("drop of none", db.RunCommand(ctx, bson.D{{"drop", "none"}}).Err())
	step("compact", db.RunCommand(ctx, bson.D{{"compact", "none"}}).Err())
	_, err = db.ListCollectionNames(ctx, bson.D{})
	step("list", err)
	return db.Drop(ctx)
}
