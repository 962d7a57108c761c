/** Which hosts a rule of egress can name (EX-04): one name, and never the sandbox itself. */
import { expect, test } from 'vitest';
import { EgressRule } from '../../src/inventory/records.ts';

test.each(['api.example.com', 'intranet', 'localhost.example.com', 'xn--bcher-kva.example'])('%s is a host', (host) => {
  expect(EgressRule.safeParse({ host }).success).toBe(true);
});

test.each(['localhost', '127.0.0.1', '*.example.com', 'api.example.com:443', 'API.example.com', '::1', ''])(
  '"%s" is none, and the refusal says what to write',
  (host) => {
    const read = EgressRule.safeParse({ host });
    expect(read.success).toBe(false);
    expect(read.error?.issues[0]).toMatchObject({
      path: ['host'],
      message: 'write one host name in lower case; no address, no wildcard, no port; localhost is the sandbox itself',
    });
  },
);
