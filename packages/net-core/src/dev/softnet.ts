import { PollList } from "./poll-list.ts";

/** What a CPU's receive softirq works on. @kernel struct softnet_data */
export class Softnet {
  readonly pollList: PollList = new PollList();
  /** Those that its softirq has taken off it, and those that are to be polled again by the next. */
  readonly now: PollList = new PollList();
  readonly again: PollList = new PollList();
  inNetRxAction = false;
}
