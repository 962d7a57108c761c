/** The broker of credentials as the product builds it, with keys of its own; places are the environment of the tests. */
import { randomBytes } from 'node:crypto';
import { credentialBook } from '../../src/gateway/credential-book.ts';
import type { StateView } from '../../src/gateway/gateway.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { type BrokerOptions, credentialBroker } from '../../src/upstream/broker/broker.ts';
import { keyRing } from '../../src/upstream/broker/sealed.ts';
import { placesSource } from '../../src/upstream/secrets.ts';

export const testBroker = (
  org: string,
  view: Pick<StateView, 'get' | 'records' | 'revision'>,
  clock: Clock,
  more: Partial<BrokerOptions> = {},
) =>
  credentialBroker({
    org,
    clock,
    ring: keyRing([randomBytes(32)]),
    fingerprintKey: randomBytes(32),
    book: credentialBook(org, view, clock),
    places: placesSource(process.env),
    vault: null,
    lookMs: 0,
    ...more,
  });
