/**
 * `subscriptions/listen` of modern clients (M16, M17): the acknowledgement first, with the part of the filter that is honoured, then
 * what changed of it, every message with the id of the listen request; at our own end the result, so that the client knows it was one.
 * A resource is honoured while this caller may read it and its server tells of changes; lists always are, since our own rules change, too;
 * tasks are the gateway's own.
 */
import type { JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import { invalidParams, invalidRequest } from '../protocol/errors.ts';
import { META } from '../protocol/meta.ts';
import { acknowledged, readFilter, subscribed } from '../protocol/notifications.ts';
import type { SubscriptionFilter } from '../protocol/notifications.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import { emptyResult } from '../protocol/results.ts';
import { declaresTasks } from '../protocol/tasks.ts';
import { attend } from './attend.ts';
import type { Stream } from './attend.ts';
import type { Call } from './call.ts';
import type { AnswerDeps } from './deps.ts';
import { finish } from './entry-facts.ts';
import { facingOf } from './facing.ts';
import { LIST_NAMES } from './fan-out.ts';
import { locate, mayRead } from './may-read.ts';
import type { Located } from './may-read.ts';
import { refuse } from './refuse.ts';
import { watchTask } from './tasks.ts';
import type { CallMeasure } from './telemetry.ts';
import type { Reply } from './wire.ts';

const SERVER_WITHIN_MS = 2_000;
const AGAIN_MS = 1_000;

export async function listen(
  call: Call,
  message: InboundRequest,
  deps: AnswerDeps,
  measure: CallMeasure,
): Promise<Reply> {
  const { id, era } = message;
  const filter = readFilter(message.params['notifications'] as JsonObject);
  if (!filter.ok)
    return refuse(call, { reason: 'message_refused', error: invalidParams(id, era, filter.error) }, deps, measure);
  if (!message.accepts.sse) {
    const error = invalidRequest(id, 'Accept must allow text/event-stream: the answer is a stream', 406);
    return refuse(call, { reason: 'message_refused', error }, deps, measure);
  }
  const done = await attend(call, deps, (stream) => open(call, id, filter.value, stream, deps));
  if (done.kind === 'denied') return refuse(call, done.denial, deps, measure, done.index);
  finish(call, measure, 'allow', done.why, deps);
  const result = emptyResult(facingOf(call, deps));
  const { _meta: meta } = result;
  return {
    kind: 'result',
    id,
    result: { ...result, _meta: { ...(isJsonObject(meta) ? meta : {}), [META.subscriptionId]: id } },
  };
}

async function open(
  call: Call,
  id: string | number,
  filter: SubscriptionFilter,
  stream: Stream,
  deps: AnswerDeps,
): Promise<() => void> {
  // Nothing goes before the acknowledgement: what comes meanwhile waits for it.
  let early: JsonObject[] | null = [];
  const send = (notification: JsonObject): void => {
    // What was decided a moment before the end stays here.
    if (stream.signal.aborted) return;
    stream.sent(notification);
    call.outlet.send(notification);
  };
  const tell = (notification: JsonObject): void => {
    const whole = subscribed(notification, id);
    if (early) early.push(whole);
    else send(whole);
  };
  const lists = new Set(LIST_NAMES.filter((list) => filter[`${list}ListChanged`]));
  const subscription = await deps.streams.fanOut.open({ call, lists, heard: null, tell, end: stream.end });
  try {
    const resources = subscription.watch(await readable(call, filter.resourceSubscriptions, deps));
    const tasks = await hearTasks(call, filter.taskIds, tell, deps);
    const honoured = { resourceSubscriptions: resources.map(({ shown }) => shown), taskIds: tasks.ids };
    send(acknowledged(id, { ...filter, ...honoured }));
    const waited = early;
    early = null;
    for (const one of waited) send(one);
    return () => {
      subscription.close();
      tasks.close();
    };
  } catch (fault) {
    subscription.close();
    throw fault;
  }
}

/** Those of the URIs that this caller may read and whose server tells when they change. */
async function readable(call: Call, uris: readonly string[], deps: AnswerDeps): Promise<readonly Located[]> {
  const found = uris.flatMap((uri) => locate(call, uri) ?? []);
  const servers = [...new Set(found.map(({ server }) => server))];
  const telling = new Map(await Promise.all(servers.map(async (id) => [id, await tells(id, call, deps)] as const)));
  const theirs = await Promise.all(
    found.filter(({ server }) => telling.get(server)).map(({ shown }) => mayRead(call, shown, deps)),
  );
  return theirs.filter((one) => one !== null);
}

/** Whether a server has subscriptions to resources. One that does not answer soon is not waited for. */
async function tells(id: string, call: Call, deps: AnswerDeps): Promise<boolean> {
  const server = call.snapshot.servers.get(id);
  if (!server?.inService) return false;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => void (timer = setTimeout(resolve, SERVER_WITHIN_MS, false)));
  const asked = deps.ports.catalogue
    .forLists(server, call.inflight.signal)
    .then(() => deps.connect(server))
    .then(
      ({ identity }) => {
        const { resources } = identity.capabilities;
        return isJsonObject(resources) && resources['subscribe'] === true;
      },
      () => false,
    );
  return Promise.race([asked, late]).finally(() => clearTimeout(timer));
}

/** The tasks among these that are the caller's, if its client has tasks at all; told of in turn, and no more once one is nobody's to see. */
async function hearTasks(
  call: Call,
  ids: readonly string[],
  tell: (notification: JsonObject) => void,
  deps: AnswerDeps,
): Promise<{ readonly ids: readonly string[]; close(): void }> {
  const unwatch = new Map<string, () => void>();
  if (declaresTasks(call.message.meta.clientCapabilities)) await Promise.all(ids.map(hearTask));

  async function hearTask(id: string): Promise<void> {
    const task = await watchTask(call, id, deps);
    if (task === null) return;
    let telling: Promise<void> | null = null;
    let again = false;
    const tellNow = async (): Promise<void> => {
      do {
        again = false;
        const notification = await task.notification();
        if (!unwatch.has(id)) return;
        if (notification !== null) tell(notification);
        else forget(id);
      } while (again);
    };
    const changed = (): void => {
      again = true;
      // What cannot be read or decided now is told of later.
      telling ??= tellNow()
        .catch(() => void setTimeout(() => void (unwatch.has(id) && changed()), AGAIN_MS).unref())
        .finally(() => {
          telling = null;
          if (again) changed();
        });
    };
    unwatch.set(id, task.watch(changed));
  }
  function forget(id: string): void {
    unwatch.get(id)?.();
    unwatch.delete(id);
  }
  return {
    ids: ids.filter((id) => unwatch.has(id)),
    close() {
      for (const id of unwatch.keys()) forget(id);
    },
  };
}
