"""What a team would write without the listener, each as its documentation shows, all with the same work to do."""
