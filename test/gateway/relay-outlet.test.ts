/** The hold in front of a client: nothing passes before the record is durable, nothing after a lock, nothing once the way is closed. */
import { expect, test } from 'vitest';
import type { Outlet } from '../../src/gateway/outlet.ts';
import { durableOutlet } from '../../src/gateway/outlet.ts';
import type { JsonObject } from '../../src/lib/json.ts';

function held() {
  const left: JsonObject[] = [];
  const told: JsonObject[] = [];
  const switches = { open: true, may: true };
  const way = {
    get open() {
      return switches.open;
    },
    send: (message: JsonObject) => void left.push(message),
    release: () => undefined,
    keepAlive: () => undefined,
  } as unknown as Outlet;
  const record = Promise.withResolvers<number>();
  const outlet = durableOutlet(
    way,
    () => record.promise,
    () => switches.may,
    (message) => void told.push(message),
  );
  return { left, told, switches, record, outlet };
}

test('messages wait for the record, and then leave in their order', async () => {
  const { left, told, record, outlet } = held();
  outlet.send({ at: 1 });
  outlet.send({ at: 2 });
  expect(left).toEqual([]);
  record.resolve(7);
  await outlet.flushed();
  outlet.send({ at: 3 });
  expect(left).toEqual([{ at: 1 }, { at: 2 }, { at: 3 }]);
  expect(told).toEqual(left);
});

test('what waited when a lock fell does not leave, and is not told as sent', async () => {
  const { left, told, switches, record, outlet } = held();
  outlet.send({ at: 1 });
  switches.may = false;
  record.resolve(7);
  await outlet.flushed();
  outlet.send({ at: 2 });
  expect([left, told]).toEqual([[], []]);
});

test('a record that fails closes the way for good', async () => {
  const { left, record, outlet } = held();
  outlet.send({ at: 1 });
  record.reject(new Error('no'));
  await outlet.flushed();
  outlet.send({ at: 2 });
  expect([left, outlet.open]).toEqual([[], false]);
});

test('what goes nowhere is not told as sent', async () => {
  const { told, switches, record, outlet } = held();
  record.resolve(7);
  switches.open = false;
  outlet.send({ at: 1 });
  await outlet.flushed();
  expect(told).toEqual([]);
});

test('of a flood before the record at most a hundred are held', async () => {
  const { left, record, outlet } = held();
  for (let at = 0; at < 1_000; at++) outlet.send({ at });
  record.resolve(7);
  await outlet.flushed();
  expect(left).toHaveLength(100);
});
