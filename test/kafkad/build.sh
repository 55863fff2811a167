#!/bin/bash
# build.sh  puts the jars of a real Apache Kafka into the cache, from Maven Central, where
# test/kafkad finds them. Needs mvn and java 17; does nothing when they are there.
set -euo pipefail
VERSION=${1:-4.1.1}
CACHE=${WEIR_CACHE:-$HOME/.cache/weir}
DIR=$CACHE/kafka-$VERSION
[ -f "$DIR/complete" ] && exit 0
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
cat > "$WORK/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>weir</groupId><artifactId>kafka-for-tests</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$VERSION</version></dependency>
  </dependencies>
</project>
POM
mvn -q -B -f "$WORK/pom.xml" dependency:copy-dependencies -DoutputDirectory="$WORK/jars" -DincludeScope=runtime
mkdir -p "$DIR"
cp "$WORK"/jars/*.jar "$DIR/"
touch "$DIR/complete"
echo "Apache Kafka $VERSION: $(ls "$DIR"/*.jar | wc -l) jars in $DIR"
