/** The tree of commands. Building it does nothing; a test walks it, and docs/guides/cli.md is held against it. */
import { Command } from 'commander';
import { agentCommands } from './commands/agent.ts';
import { applyCommand } from './commands/apply.ts';
import { approvalCommands } from './commands/approval.ts';
import { artifactCommands } from './commands/artifact.ts';
import { auditCommands } from './commands/audit.ts';
import { breakGlassCommands } from './commands/break-glass.ts';
import { connectCommand } from './commands/connect.ts';
import { credentialCommands } from './commands/credential.ts';
import { doctorCommand } from './commands/doctor.ts';
import { eventCommands } from './commands/events.ts';
import { findingCommands } from './commands/finding.ts';
import { grantCommands } from './commands/grant.ts';
import { groupCommands } from './commands/group.ts';
import { honeytokenCommands } from './commands/honeytoken.ts';
import { incidentCommands } from './commands/incident.ts';
import { inspectionCommands } from './commands/inspection.ts';
import { initCommand } from './commands/init.ts';
import { lockCommands } from './commands/lock.ts';
import { mappingCommands } from './commands/mapping.ts';
import { notifyCommands } from './commands/notify.ts';
import { personCommands } from './commands/person.ts';
import { policyCommands } from './commands/policy.ts';
import { reviewCommands } from './commands/review.ts';
import { runCommands } from './commands/run.ts';
import { scimCommands } from './commands/scim.ts';
import { scopeCommands } from './commands/scope.ts';
import { serverCommands } from './commands/server.ts';
import { signInCommands } from './commands/sign-in.ts';
import { statusCommand } from './commands/status.ts';
import { tokenCommands } from './commands/token.ts';
import { toolCommands } from './commands/tool.ts';
import { verifyCommand } from './commands/verify.ts';
import { VERSION } from './version.ts';

const EXIT_CODES_HELP = `Exit codes:
  0  done
  1  failed or refused
  2  wrong usage or configuration
  3  not signed in
  4  nothing answers`;

export function buildProgram(): Command {
  const program = new Command('remit')
    .description('Governance gateway for the Model Context Protocol.')
    .version(VERSION, '--version')
    .addHelpText('after', `\n${EXIT_CODES_HELP}\n\nExample:\n  remit init && remit doctor && remit up`)
    .configureHelp({ subcommandTerm: (command) => command.name() })
    .showHelpAfterError('Try --help.');

  program.commandsGroup('Run:');
  runCommands(program);
  initCommand(program);
  doctorCommand(program);
  program.commandsGroup('Sign in:');
  signInCommands(program);
  program.commandsGroup('Govern:');
  applyCommand(program);
  serverCommands(program);
  artifactCommands(program);
  credentialCommands(program);
  toolCommands(program);
  policyCommands(program);
  inspectionCommands(program);
  grantCommands(program);
  scopeCommands(program);
  reviewCommands(program);
  personCommands(program);
  groupCommands(program);
  agentCommands(program);
  mappingCommands(program);
  scimCommands(program);
  eventCommands(program);
  notifyCommands(program);
  program.commandsGroup('Respond:');
  statusCommand(program);
  findingCommands(program);
  incidentCommands(program);
  honeytokenCommands(program);
  lockCommands(program);
  breakGlassCommands(program);
  tokenCommands(program);
  approvalCommands(program);
  program.commandsGroup('Evidence:');
  auditCommands(program);
  verifyCommand(program);
  program.commandsGroup('Clients:');
  connectCommand(program);
  return program;
}
