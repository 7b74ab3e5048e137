package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/deliver"
	"github.com/auditsql/auditsql/internal/signing"
)

// outbox brings the newest checkpoint to the places outside of the store. Each place has a goroutine of its own, so one that
// fails or hangs delays neither the others nor a signature. A place gets the newest checkpoint alone: those that were signed while
// it was busy are left out, because the newest covers them.
//
// The witnesses are one place. What they have cosigned is written to DIR/checkpoint and published once more.
type outbox struct {
	*signer
	places []*place
	ctx    context.Context // ends when closing the store waits no longer
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

// place is a place outside of the store.
type place struct {
	name string
	// bring brings a checkpoint there.
	bring func(ctx context.Context, s deliver.Signed) error
	// lacks reports whether log.json says that the place does not have the checkpoint of this size.
	lacks     func(c *signing.Config, size int64) bool
	publishes bool

	mu     sync.Mutex
	newest evidence.Checkpoint // that was handed over
	next   *parcel             // what is to be delivered; nil is nothing
	now    *parcel             // what is being delivered; nil is nothing
	wake   chan struct{}       // holds a token when next was set
	busy   bool                // there is something to deliver, or it is being delivered
	idle   chan struct{}       // closed when busy ends, and replaced when busy begins
}

// parcel is a checkpoint on its way to a place.
type parcel struct {
	checkpoint evidence.Checkpoint
	note       []byte
	done       []chan<- error // who waits for it; each has room for one answer
}

// deliverTime is how long one delivery may take.
const deliverTime = time.Minute

func newOutbox(s *signer) *outbox {
	o := &outbox{signer: s}
	o.ctx, o.cancel = context.WithCancel(context.Background())
	c := s.log.Config()
	var targets []deliver.Target
	for _, folder := range c.Publish {
		targets = append(targets, deliver.Publish(folder))
	}
	for _, command := range c.Exec {
		targets = append(targets, deliver.Exec(command))
	}
	for i, t := range targets {
		o.add(&place{name: t.Name(), publishes: i < len(c.Publish), bring: func(ctx context.Context, sent deliver.Signed) error {
			return o.noted(t.Name(), sent, t.Deliver(ctx, sent))
		}, lacks: lacksAny(t.Name())})
	}
	if c.Policy != "" {
		o.addWitnesses(c.Policy)
	}
	return o
}

// lacksAny reports for places of these names whether one of them does not have a checkpoint.
func lacksAny(names ...string) func(*signing.Config, int64) bool {
	return func(c *signing.Config, size int64) bool {
		for _, name := range names {
			if got := c.Delivered[name]; got.Size < size || got.Error != "" {
				return true
			}
		}
		return false
	}
}

const witnessesPlace = "witnesses"

// witnessPlace is the name of a witness among the places.
func witnessPlace(name string) string { return "witness " + name }

// addWitnesses adds the witnesses as one place. The policy is read when it is needed first, so that a file which is away at
// opening is used when it is back.
func (o *outbox) addWitnesses(file string) {
	var policy atomic.Pointer[evidence.Policy]
	var witnesses *deliver.Witnesses // used by bring alone
	lacks := func(c *signing.Config, size int64) bool {
		p := policy.Load()
		if p == nil {
			return true
		}
		return lacksAny(witnessPlaces(p)...)(c, size)
	}
	load := func() error {
		p, err := signing.ReadPolicy(file)
		if err == nil {
			witnesses = deliver.NewWitnesses(p, http.DefaultClient)
			policy.Store(p)
		}
		return err
	}
	_ = load() // bring says why not
	o.add(&place{name: witnessesPlace, lacks: lacks, bring: func(ctx context.Context, sent deliver.Signed) error {
		if witnesses == nil {
			if err := load(); err != nil {
				return o.noted(witnessesPlace, sent, err)
			}
		}
		return o.cosign(ctx, witnesses, policy.Load(), sent)
	}})
}

// witnessPlaces returns the names of the witnesses among the places.
func witnessPlaces(policy *evidence.Policy) (names []string) {
	for _, w := range policy.Witnesses() {
		names = append(names, witnessPlace(w.Name))
	}
	return names
}

// cosign asks the witnesses, keeps what they have signed, and publishes it.
func (o *outbox) cosign(ctx context.Context, witnesses *deliver.Witnesses, policy *evidence.Policy, sent deliver.Signed) error {
	note, failed, err := witnesses.Cosign(ctx, sent)
	if note == nil { // nobody was asked
		for _, w := range policy.Witnesses() {
			o.noted(witnessPlace(w.Name), sent, err)
		}
		return err
	}
	var errs []error
	if len(failed) < len(policy.Witnesses()) {
		errs = append(errs, o.log.Cosigned(note), o.publish(ctx, sent.Checkpoint, note))
	}
	// Last: a witness that is not noted is asked again, and what it has signed is published again.
	for _, w := range policy.Witnesses() {
		if err := o.noted(witnessPlace(w.Name), sent, failed[w.Name]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", w.Name, err))
		}
	}
	return errors.Join(errs...)
}

// publish brings a note that has more signatures now to the folders.
func (o *outbox) publish(ctx context.Context, cp evidence.Checkpoint, note []byte) error {
	var waits []wait
	for _, p := range o.places {
		if p.publishes {
			waits = append(waits, p.put(cp, note))
		}
	}
	var errs []error
	for _, w := range waits {
		if err := w.until(ctx); err != nil {
			errs = append(errs, fmt.Errorf("with the cosignatures: %s: %w", w.place.name, err))
		}
	}
	return errors.Join(errs...)
}

// noted notes what became of a delivery, and returns its error.
func (o *outbox) noted(name string, sent deliver.Signed, err error) error {
	if err != nil {
		o.opts.logger.Warn("a checkpoint was not delivered", "to", name, "records", sent.Checkpoint.Size, "error", err)
	}
	// Without the note the checkpoint is delivered again, which harms nothing.
	if noteErr := o.log.Delivered(name, sent.Checkpoint.Size, err); noteErr != nil {
		o.opts.logger.Warn("a delivery was not noted", "to", name, "error", noteErr)
	}
	return errors.Join(err, o.stopAfter(err))
}

// stopAfter keeps the log from being signed again when a witness has seen another history of it. A published folder that shows
// another one stops nothing: whoever can write to the folder could stop the log.
func (o *outbox) stopAfter(err error) error {
	if !errors.As(err, new(*deliver.ConflictError)) {
		return nil
	}
	o.opts.logger.Error("nothing more is signed", "error", err)
	return o.log.Stop(err.Error())
}

// add adds a place, and starts its goroutine.
func (o *outbox) add(p *place) {
	p.wake, p.idle = make(chan struct{}, 1), make(chan struct{})
	close(p.idle)
	o.places = append(o.places, p)
	o.ended.Go(func() {
		for {
			select {
			case <-p.wake:
				o.empty(p)
			case <-o.ctx.Done():
				return
			}
		}
	})
}

// empty delivers what there is for a place.
func (o *outbox) empty(p *place) {
	for {
		parcel := p.take()
		if parcel == nil {
			return
		}
		began := time.Now()
		err := o.send(p, parcel)
		for _, done := range p.sent() {
			done <- err
		}
		if o.opts.metrics.Delivered != nil {
			o.opts.metrics.Delivered(p.name, time.Since(began), err)
		}
	}
}

func (o *outbox) send(p *place, parcel *parcel) error {
	ctx, cancel := context.WithTimeout(o.ctx, deliverTime)
	defer cancel()
	_, tiles, err := o.sql.Tree(ctx)
	if err != nil {
		return err
	}
	return p.bring(ctx, deliver.Signed{Checkpoint: parcel.checkpoint, Note: parcel.note, Tiles: tiles})
}

// take returns what is to be delivered next, or nil.
func (p *place) take() *parcel {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now, p.next = p.next, nil
	if p.now == nil && p.busy {
		p.busy = false
		close(p.idle)
	}
	return p.now
}

// sent ends a delivery, and returns who waits for it.
func (p *place) sent() []chan<- error {
	p.mu.Lock()
	defer p.mu.Unlock()
	done := p.now.done
	p.now = nil
	return done
}

// wait is for a delivery to a place.
type wait struct {
	place *place
	done  <-chan error
}

func (w wait) until(ctx context.Context) error {
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		select {
		case err := <-w.done:
			return err
		default:
		}
		return fmt.Errorf("it has no answer yet: %w", context.Cause(ctx))
	}
}

// put hands a checkpoint over, which replaces an older one that waits. One that is on its way already is not delivered twice. One
// that is older than what was handed over before is left out, the one of a slow witness perhaps: the newer one covers it.
func (p *place) put(cp evidence.Checkpoint, note []byte) wait {
	done := make(chan error, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if cp.Origin == p.newest.Origin && cp.Size < p.newest.Size {
		done <- nil
		return wait{p, done}
	}
	p.newest = cp
	if p.next == nil && p.now != nil && bytes.Equal(p.now.note, note) {
		p.now.done = append(p.now.done, done)
		return wait{p, done}
	}
	if p.next == nil {
		if !p.busy {
			p.idle, p.busy = make(chan struct{}), true
		}
		p.next = &parcel{}
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	p.next.checkpoint, p.next.note = cp, note
	p.next.done = append(p.next.done, done)
	return wait{p, done}
}

// deliver hands a checkpoint to the places that do not have it.
func (o *outbox) deliver(sig signing.Signature) (waits []wait) {
	c := o.log.Config()
	for _, p := range o.places {
		if p.lacks(c, sig.Checkpoint.Size) {
			waits = append(waits, p.put(sig.Checkpoint, sig.Note))
		}
	}
	return waits
}

// again tries again to deliver the newest checkpoint to the places that do not have it.
func (o *outbox) again() {
	c := o.log.Config()
	note, cp, err := c.Newest(o.dir)
	if err != nil {
		o.opts.logger.Warn("the newest checkpoint was not read", "error", err)
	} else if note != nil {
		o.deliver(signing.Signature{Checkpoint: cp, Note: note})
	}
}

// deliverNow is deliver, and waits for what comes of it. It returns the places that failed.
func (o *outbox) deliverNow(ctx context.Context, sig signing.Signature) map[string]error {
	failed := map[string]error{}
	for _, w := range o.deliver(sig) {
		if err := w.until(ctx); err != nil {
			failed[w.place.name] = err
		}
	}
	return failed
}

// close waits a while until everything is delivered, and ends the goroutines. A place may ignore the end of its context, a folder
// on a network that hangs perhaps: nobody waits for it any more, and nothing that it does later is noted. close returns the places that did
// not end in time.
func (o *outbox) close(patience time.Duration) (late []string) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	over := false
	for _, p := range o.places {
		p.mu.Lock()
		idle := p.idle
		p.mu.Unlock()
		if over {
			select {
			case <-idle:
			default:
				late = append(late, p.name)
			}
			continue
		}
		select {
		case <-idle:
		case <-timer.C:
			over = true
			late = append(late, p.name)
		}
	}
	o.cancel()
	ended := make(chan struct{})
	go func() {
		o.ended.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(patience):
	}
	return late
}
