package http2

import (
	"testing"

	"github.com/weir-probe/weir/flows/l7/l7test"
)

func TestGolden(t *testing.T) { l7test.Golden(t, Spec, l7test.JSON, l7test.AnswersAtEnd) }
