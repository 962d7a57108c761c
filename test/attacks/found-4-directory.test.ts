/** What the token of a provisioning connection can do to everybody else: keep the node busy, and bring people back. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { personKey } from '../../src/directory/records.ts';
import { BULK, connect, newGroup, newUser, patch } from '../admin/scim/support.ts';
import type { Idp } from '../admin/scim/support.ts';
import { RISC, issSub, startTransmitter } from '../admin/events/transmitter.ts';
import { startPlane } from '../admin/plane.ts';
import type { Plane } from '../admin/plane.ts';

let plane: Plane;
let idp: Idp;
beforeAll(async () => {
  plane = await startPlane();
  idp = await connect(plane, 'corp');
});
afterAll(() => plane?.close());

describe('a large group', () => {
  test('is not searched a thousand times by one request', async () => {
    const id = await newGroup(idp, 'Everybody');
    const { issuer } = plane.issuer;
    const people = Array.from({ length: 5_000 }, (_, at) => {
      const name = `many-${at}`;
      const provisioned = { connection: 'corp', userName: `${name}@corp.example`, externalId: name };
      const body = { issuer, subject: `corp|${name}`, name, state: 'active', roles: [], groups: [id], provisioned };
      return plane.put('person', name, body, personKey(issuer, `corp|${name}`));
    });
    await plane.seed(people);
    const nobody = { op: 'remove', path: 'members[value sw "nobody"]' };
    const times = (count: number) =>
      idp('PATCH', `/Groups/${id}`, patch(...Array.from({ length: count }, () => nobody)));
    expect((await times(10)).status).toBe(200);
    const refused = await times(1_000);
    expect([refused.status, refused.body['scimType']]).toEqual([413, 'tooMany']);
    // Nor by the operations of one bulk together.
    const operation = {
      method: 'PATCH',
      path: `/Groups/${id}`,
      data: patch(...Array.from({ length: 60 }, () => nobody)),
    };
    const bulk = await idp('POST', '/Bulk', { schemas: [BULK], Operations: [operation, operation] });
    const statuses = (bulk.body['Operations'] as Array<{ status: string }>).map(({ status }) => status);
    expect(statuses).toEqual(['424', '413']);
  }, 120_000);
});

describe('somebody whom an event and the directory made inactive', () => {
  test('does not come back by the event alone', async () => {
    const sender = await startTransmitter();
    try {
      await plane.seed([plane.put('event_stream', 'risc', sender.stream())]);
      const id = await newUser(idp, 'leaver');
      const who = issSub(plane.issuer.issuer, 'corp|leaver');
      const state = () => plane.snapshot().people.byId(id)?.state;
      const tell = (type: string) => sender.push(`${plane.url}/events/risc`, sender.event(`${RISC}${type}`, {}, who));
      expect((await tell('account-disabled')).status).toBe(202);
      expect(state()).toBe('inactive');
      // The directory says so, too: it was not its word before, and it changes nothing in the record.
      expect((await idp('PATCH', `/Users/${id}`, patch({ op: 'replace', path: 'active', value: false }))).status).toBe(
        200,
      );
      expect((await tell('account-enabled')).status).toBe(202);
      expect(state()).toBe('inactive');
    } finally {
      await sender.close();
    }
  });
});

describe('somebody whom an administrator made inactive', () => {
  test('does not come back, with their roles, because a connection takes them over', async () => {
    const taker = await connect(plane, 'taker', { adopt: true });
    const { issuer } = plane.issuer;
    for (const [id, state] of Object.entries({ here: 'active', gone: 'inactive' })) {
      const subject = `taker|${id}`;
      const body = { issuer, subject, name: id, state, roles: ['administrator'] };
      await plane.seed([plane.put('person', id, body, personKey(issuer, subject))]);
    }
    expect(await newUser(taker, 'here')).toBe('here');
    await expect(newUser(taker, 'gone')).rejects.toThrow('uniqueness');
    expect(plane.snapshot().people.byId('gone')?.state).toBe('inactive');
  });
});
