/**
 * The one way SCIM changes anything: the work is done on a draft, the draft becomes one commit, and nothing is answered before that commit is
 * durable, in force on this node and recorded (TRUST.md R1). Two changes do not run at once here; another node's is met by doing the work anew.
 * CRASH: before the commit nothing is changed; after it everything is, and the client that asks again finds it so.
 */
import { refuse } from '../../directory/scim/problem.ts';
import type { EventFacts } from '../../audit/entries.ts';
import { commitBy } from '../commit.ts';
import type { AdminContext } from '../context.ts';
import { contactWrite } from '../events/contact.ts';
import type { Problem } from '../problem.ts';
import type { Connected } from './connections.ts';
import type { DirectoryIndex } from './directory-index.ts';
import { openDraft, type Draft, type Drafted } from './draft.ts';
import type { ConnectionLimits } from './limits.ts';

/** Another node was quicker: so often the work is done anew. */
const ATTEMPTS = 4;
/** Ids that an audit entry names at most; the history has all of them. */
const NAMED = 100;

export interface Changer {
  /**
   * Runs `work` on a draft and commits it. `still`: whether the connection may still do this, asked when its turn comes.
   * @throws a refusal; then nothing is changed, but for a 503 that says otherwise.
   */
  change<T>(
    asked: {
      readonly ref: string;
      readonly still: () => Connected;
      /** For the log: `scim.user.changed`, and about what. */
      readonly what: string;
      readonly subject: (value: T) => string;
    },
    work: (draft: Draft) => T,
  ): Promise<T>;
}

export function changer(ctx: AdminContext, index: () => DirectoryIndex, limits: ConnectionLimits): Changer {
  return {
    change: ({ ref, still, what, subject }, work) =>
      limits.inTurn(async () => {
        for (let attempt = 1; ; attempt++) {
          const { id, connection } = still();
          const draft = openDraft({ ctx, index: index(), connectionId: id, connection });
          const value = work(draft);
          const reason = `provisioned by ${connection.title}`;
          const drafted = draft.drafted(reason);
          if (drafted.writes.length === 0) return value;
          const contact = contactWrite(ctx, id);
          const done = await commitBy(
            ctx,
            { name: `scim:${id}`, actor: null, ref },
            {
              what,
              subject: subject(value),
              reason,
              facts: factsOf(id, drafted),
              writes: contact === null ? drafted.writes : [...drafted.writes, contact],
            },
          );
          if (done.ok) return value;
          if (done.error.status !== 409 || attempt === ATTEMPTS) return refuseBy(done.error);
        }
      }),
  };
}

function factsOf(connection: string, drafted: Drafted): EventFacts {
  const { people, groups } = drafted;
  const counts = Object.entries({
    peopleAdded: people.added,
    peopleChanged: people.changed,
    peopleRemoved: people.removed,
    groupsAdded: groups.added,
    groupsChanged: groups.changed,
    groupsRemoved: groups.removed,
    membersAdded: drafted.membersAdded.length,
    membersRemoved: drafted.membersRemoved.length,
  }).filter(([, count]) => count > 0);
  const names = Object.entries({
    joined: drafted.membersAdded,
    left: drafted.membersRemoved,
    deactivated: drafted.deactivated,
    // NH-05: what nobody answers for any more, at once.
    serversWithoutOwner: drafted.orphaned,
  }).filter(([, ids]) => ids.length > 0);
  return {
    connection,
    ...Object.fromEntries(counts),
    ...Object.fromEntries(names.map(([name, ids]) => [name, ids.slice(0, NAMED)])),
  };
}

function refuseBy(problem: Problem): never {
  if (problem.status === 409) {
    return refuse({
      status: 409,
      scimType: 'uniqueness',
      detail: 'Another resource has this name, or somebody else keeps changing it.',
    });
  }
  if (problem.status === 422) return refuse({ status: 400, scimType: 'invalidValue', detail: problem.message });
  return refuse({
    status: 503,
    detail: `${problem.message} ${problem.remedy ?? ''}`.trim(),
    retryAfterSeconds: 5,
  });
}
